{{/* Names and labels. contracts/kubernetes.py has the ones that the operator and the pods share. */}}

{{/* RELEASE: the prefix of every object. */}}
{{- define "aristobot.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains "aristobot" .Release.Name -}}
{{- .Release.Name -}}
{{- else -}}
{{- printf "%s-aristobot" .Release.Name -}}
{{- end -}}
{{- end }}

{{/* (list . "engine"): RELEASE-engine */}}
{{- define "aristobot.name" -}}
{{- printf "%s-%s" (include "aristobot.fullname" (first .)) (last .) -}}
{{- end }}

{{/* (list . "nats"): the Service's full name; the cluster's domain is not assumed. */}}
{{- define "aristobot.host" -}}
{{- printf "%s.%s.svc" (include "aristobot.name" .) (first .).Release.Namespace -}}
{{- end }}

{{/*
(list . "engine"): what a selector may use; it can never change. Pods have no other labels, so that
a new version of the chart alone restarts nothing.
*/}}
{{- define "aristobot.selectorLabels" -}}
app.kubernetes.io/name: aristobot
app.kubernetes.io/instance: {{ (first .).Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end }}

{{/* (list . "engine") */}}
{{- define "aristobot.labels" -}}
{{ include "aristobot.selectorLabels" . }}
app.kubernetes.io/version: {{ (first .).Chart.AppVersion | quote }}
app.kubernetes.io/part-of: aristobot
app.kubernetes.io/managed-by: {{ (first .).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (first .).Chart.Name ((first .).Chart.Version | replace "+" "_") }}
{{- end }}

{{/* (list . "engine"): namespace and labels included. */}}
{{- define "aristobot.metadata" -}}
name: {{ include "aristobot.name" . }}
namespace: {{ (first .).Release.Namespace }}
labels:
  {{- include "aristobot.labels" . | nindent 2 }}
{{- end }}

{{- define "aristobot.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end }}

{{/* As JSON: the namespaces whose resources are executed. */}}
{{- define "aristobot.owners" -}}
{{- .Values.owners | default (list .Release.Namespace) | toJson -}}
{{- end }}

{{/* As JSON: every namespace in which pods of ours run. */}}
{{- define "aristobot.namespaces" -}}
{{- prepend (include "aristobot.owners" . | fromJsonArray) .Release.Namespace | uniq | toJson -}}
{{- end }}

{{/* "true" or "": it follows embedded.enabled unless it is set. */}}
{{- define "aristobot.simulated" -}}
{{- $enabled := .Values.simulator.enabled -}}
{{- if kindIs "bool" $enabled -}}
{{- ternary "true" "" $enabled -}}
{{- else -}}
{{- ternary "true" "" .Values.embedded.enabled -}}
{{- end -}}
{{- end }}

{{/* As JSON: the markets that have heartbeats. */}}
{{- define "aristobot.markets" -}}
{{- $default := ternary "binance-simulator" "binance" (eq (include "aristobot.simulated" .) "true") -}}
{{- .Values.heartbeat.markets | default (list $default) | toJson -}}
{{- end }}

{{- define "aristobot.natsUrl" -}}
{{- if .Values.embedded.enabled -}}
{{- printf "nats://%s:4222" (include "aristobot.host" (list . "nats")) -}}
{{- else -}}
{{- .Values.nats.url -}}
{{- end -}}
{{- end }}

{{- define "aristobot.otlpEndpoint" -}}
{{- .Values.telemetry.otlpEndpoint | default (printf "http://%s:4318" (include "aristobot.host" (list . "api"))) -}}
{{- end }}

{{- define "aristobot.simulatorUrl" -}}
{{- printf "http://%s:8890" (include "aristobot.host" (list . "simulator")) -}}
{{- end }}

{{/* As JSON: name and key of the Secret with the database's URL, in the release's namespace. */}}
{{- define "aristobot.databaseSecret" -}}
{{- if .Values.embedded.enabled -}}
{{- dict "name" (include "aristobot.name" (list . "postgres")) "key" "database-url" | toJson -}}
{{- else if .Values.cloudnativepg.enabled -}}
{{- dict "name" (printf "%s-app" (include "aristobot.name" (list . "db"))) "key" "uri" | toJson -}}
{{- else -}}
{{- dict "name" .Values.database.existingSecret "key" .Values.database.secretKey | toJson -}}
{{- end -}}
{{- end }}

{{/* (list . "money"): empty where there is none. */}}
{{- define "aristobot.priorityClass" -}}
{{- $values := (first .).Values.priorityClasses -}}
{{- if $values.create -}}
{{- include "aristobot.name" . -}}
{{- else -}}
{{- index $values (last .) -}}
{{- end -}}
{{- end }}
