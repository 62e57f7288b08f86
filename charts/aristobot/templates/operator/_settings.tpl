{{/* operator.yaml, as aristobot_operator.settings.OperatorSettings reads it. */}}
{{- define "aristobot.operatorSettings" -}}
release: {{ include "aristobot.fullname" . }}
instance: {{ .Release.Name }}
namespace: {{ .Release.Namespace }}
owners: {{ include "aristobot.owners" . }}
image: {{ include "aristobot.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
imagePullSecrets: {{ toJson .Values.image.pullSecrets }}
natsUrl: {{ include "aristobot.natsUrl" . | quote }}
natsReplicas: {{ .Values.nats.replicas }}
otlpEndpoint: {{ include "aristobot.otlpEndpoint" . | quote }}
databaseSecret: {{ include "aristobot.databaseSecret" . }}
embeddedPostgres: {{ if .Values.embedded.enabled }}{host: {{ include "aristobot.host" (list . "postgres") }}}{{ else }}null{{ end }}
simulatorUrl: {{ if include "aristobot.simulated" . }}{{ include "aristobot.simulatorUrl" . | quote }}{{ else }}null{{ end }}
markets: {{ include "aristobot.markets" . }}
gateway: {{ include "aristobot.childSettings" (list .Values.gateway (include "aristobot.priorityClass" (list . "money"))) }}
runner: {{ include "aristobot.childSettings" (list .Values.runner .Values.runner.priorityClassName) }}
logLevel: {{ .Values.logLevel }}
workers: {{ .Values.operator.workers }}
{{- end }}

{{/* (list values priorityClassName), as JSON. */}}
{{- define "aristobot.childSettings" -}}
{{- $values := first . -}}
{{- $priority := last . -}}
{{- $settings := pick $values "resources" "nodeSelector" "tolerations" "env" -}}
{{- set $settings "priorityClassName" ($priority | default nil) | toJson -}}
{{- end }}
