"""The operator: turns `Broker`, `Strategy` and `ActiveStrategy` resources into what runs.

The counterpart of `aristobot.local` on Kubernetes. Flow: a watch (`watching`) or the clock puts a
resource's key into the queue (`work_queue`); a worker (`reconciler`) takes what was seen (`cache`),
lets pure functions decide (`plans`), writes the status, then closes the gap (`children`).
"""
