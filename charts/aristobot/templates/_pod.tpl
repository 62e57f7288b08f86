{{/* What every pod of the platform shares: Pod Security `restricted`, environment, probes. */}}

{{/* (list . "money"): the beginning of a pod's spec. */}}
{{- define "aristobot.podSpec" -}}
{{- $root := first . -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  # Not on every mount: PostgreSQL refuses a data folder that its group may write.
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with include "aristobot.priorityClass" . }}
priorityClassName: {{ . }}
{{- end }}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* (list . $labels): replicas on different nodes where there are several, and all the same where not. */}}
{{- define "aristobot.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- last . | nindent 8 }}
{{- end }}

{{/* The beginning of a container, after its name. */}}
{{- define "aristobot.container" -}}
image: {{ include "aristobot.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
# A misconfigured part says why in its last line.
terminationMessagePolicy: FallbackToLogsOnError
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{- define "aristobot.env.common" -}}
- name: ARISTOBOT_LOG_LEVEL
  value: {{ .Values.logLevel }}
- name: ARISTOBOT_INSTANCE
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: HOME
  value: /tmp
- name: TMPDIR
  value: /tmp
{{- end }}

{{- define "aristobot.env.nats" -}}
- name: ARISTOBOT_NATS_URL
  value: {{ include "aristobot.natsUrl" . | quote }}
- name: ARISTOBOT_NATS_CREDENTIALS
  value: /etc/aristobot/nats/nats.creds
{{- end }}

{{- define "aristobot.env.database" -}}
{{- $secret := include "aristobot.databaseSecret" . | fromJson -}}
- name: ARISTOBOT_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ $secret.name }}
      key: {{ $secret.key }}
{{- end }}

{{- define "aristobot.env.telemetry" -}}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ include "aristobot.otlpEndpoint" . | quote }}
{{- end }}

{{/* /healthz, /readyz and /metrics of a part without a face of its own. */}}
{{- define "aristobot.env.admin" -}}
- name: ARISTOBOT_ADMIN_HOST
  value: 0.0.0.0
- name: ARISTOBOT_ADMIN_PORT
  value: "9090"
{{- end }}

{{- define "aristobot.scratch.mount" -}}
- name: scratch
  mountPath: /tmp
{{- end }}

{{- define "aristobot.scratch.volume" -}}
- name: scratch
  emptyDir:
    sizeLimit: 256Mi
{{- end }}

{{- define "aristobot.nats.mount" -}}
- name: nats
  mountPath: /etc/aristobot/nats
  readOnly: true
{{- end }}

{{/* (list . "engine"): a role's credentials. The operator makes the Secret; the pod waits for it. */}}
{{- define "aristobot.nats.volume" -}}
- name: nats
  secret:
    secretName: {{ include "aristobot.name" (list (first .) (printf "nats-%s" (last .))) }}
    defaultMode: 0440
{{- end }}

{{/*
(port name): for a part with the three paths. A start may wait for NATS and the database; after it,
liveness means that the event loop turns, and nothing else is cured by a restart.
*/}}
{{- define "aristobot.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: {{ . }}}
  # It takes some seconds to import what it needs.
  initialDelaySeconds: 3
  periodSeconds: 1
  timeoutSeconds: 2
  failureThreshold: 180
readinessProbe:
  httpGet: {path: /readyz, port: {{ . }}}
  periodSeconds: 5
  # The check itself takes 2 s at most.
  timeoutSeconds: 4
  failureThreshold: 2
livenessProbe:
  httpGet: {path: /healthz, port: {{ . }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}

{{/* (dict "storage" {size, storageClass} "labels" ...): one volume of a StatefulSet. */}}
{{- define "aristobot.claim" -}}
volumeClaimTemplates:
  - apiVersion: v1
    kind: PersistentVolumeClaim
    metadata:
      name: data
      labels:
        {{- .labels | nindent 8 }}
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .storage.storageClass }}
      storageClassName: {{ . }}
      {{- end }}
      resources:
        requests:
          storage: {{ .storage.size }}
{{- end }}
