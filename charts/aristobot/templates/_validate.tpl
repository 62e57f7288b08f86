{{/*
What the schema can't say: values that don't go together. One sentence each, which says what to set.
*/}}
{{- define "aristobot.validate" -}}
{{- $problems := list -}}
{{- if gt (len (include "aristobot.fullname" .)) 24 -}}
{{- $problems = append $problems (printf "The name %q is longer than 24 characters, and names made of it would be too long for Kubernetes: set fullnameOverride." (include "aristobot.fullname" .)) -}}
{{- end -}}
{{- if .Values.embedded.enabled -}}
{{- if .Values.nats.url -}}
{{- $problems = append $problems "embedded.enabled brings its own NATS: leave nats.url empty, or set embedded.enabled=false." -}}
{{- end -}}
{{- if gt (int .Values.nats.replicas) 1 -}}
{{- $problems = append $problems "embedded.enabled brings a single NATS server: leave nats.replicas at 1." -}}
{{- end -}}
{{- if or .Values.database.existingSecret .Values.cloudnativepg.enabled -}}
{{- $problems = append $problems "embedded.enabled brings its own PostgreSQL: leave database.existingSecret and cloudnativepg.enabled out, or set embedded.enabled=false." -}}
{{- end -}}
{{- else -}}
{{- if not .Values.nats.url -}}
{{- $problems = append $problems "There is no NATS: set nats.url (such as nats://nats.nats.svc:4222), or embedded.enabled=true for a first look." -}}
{{- end -}}
{{- if not (or .Values.database.existingSecret .Values.cloudnativepg.enabled) -}}
{{- $problems = append $problems "There is no database: set database.existingSecret to a Secret with its URL, or cloudnativepg.enabled=true, or embedded.enabled=true for a first look." -}}
{{- end -}}
{{- if and .Values.database.existingSecret .Values.cloudnativepg.enabled -}}
{{- $problems = append $problems "There are two databases: set database.existingSecret or cloudnativepg.enabled, not both." -}}
{{- end -}}
{{- end -}}
{{- if not (include "aristobot.simulated" .) -}}
{{- range .Values.heartbeat.markets -}}
{{- if hasSuffix "-simulator" . -}}
{{- $problems = append $problems (printf "heartbeat.markets names %s, but there is no simulator: set simulator.enabled=true." .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- $problems = append $problems "httpRoute.enabled needs the Gateway that it belongs to: set httpRoute.parentRefs." -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled .Values.telemetry.otlpEndpoint (not .Values.telemetry.peers) -}}
{{- $problems = append $problems "Every pod speaks to telemetry.otlpEndpoint, a strategy's too, so a NetworkPolicy has to open it and nothing else: set telemetry.peers to where it is (such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}])." -}}
{{- end -}}
{{- if $problems -}}
{{- printf "\n\n%s\n" (join "\n" $problems) | fail -}}
{{- end -}}
{{- end }}
