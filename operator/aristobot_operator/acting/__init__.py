"""The operator's hands: they carry out a plan on Kubernetes, NATS and the simulator."""
