{{/*
Pieces of NetworkPolicies. Pods of ours are selected by name and component, not by release: those
that the operator makes belong to none.
*/}}

{{/* (component): */}}
{{- define "aristobot.podSelector" -}}
matchLabels:
  app.kubernetes.io/name: aristobot
  app.kubernetes.io/component: {{ . }}
{{- end }}

{{/* (list . components...): pods of the platform, in the release's namespace. */}}
{{- define "aristobot.platformPeers" -}}
{{- $root := first . -}}
- namespaceSelector:
    matchLabels:
      kubernetes.io/metadata.name: {{ $root.Release.Namespace }}
  podSelector:
    matchLabels:
      app.kubernetes.io/name: aristobot
    matchExpressions:
      - key: app.kubernetes.io/component
        operator: In
        values: {{ rest . | toJson }}
{{- end }}

{{/* (list . components...): pods that the operator makes, in the owners' namespaces. */}}
{{- define "aristobot.ownerPeers" -}}
{{- $root := first . -}}
- namespaceSelector:
    matchExpressions:
      - key: kubernetes.io/metadata.name
        operator: In
        values: {{ include "aristobot.owners" $root }}
  podSelector:
    matchLabels:
      app.kubernetes.io/name: aristobot
    matchExpressions:
      - key: app.kubernetes.io/component
        operator: In
        values: {{ rest . | toJson }}
{{- end }}

{{/* A port of a URL, or the one that its scheme stands for. */}}
{{- define "aristobot.portOf" -}}
{{- $url := urlParse . -}}
{{- $port := regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) -}}
{{- $port | default (get (dict "nats" "4222" "tls" "4222" "http" "80" "https" "443") $url.scheme) -}}
{{- end }}

{{/* Pods of this cluster and private addresses: where a server that isn't ours may stand. */}}
{{- define "aristobot.nearbyPeers" -}}
- namespaceSelector: {}
- ipBlock: {cidr: 10.0.0.0/8}
- ipBlock: {cidr: 172.16.0.0/12}
- ipBlock: {cidr: 192.168.0.0/16}
{{- end }}

{{/* Rules of `egress`, one list item each. */}}

{{- define "aristobot.egress.dns" -}}
- to:
    {{- toYaml .Values.networkPolicy.dns | nindent 4 }}
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end }}

{{- define "aristobot.egress.nats" -}}
- to:
    {{- if .Values.embedded.enabled }}
    {{- include "aristobot.platformPeers" (list . "nats") | nindent 4 }}
    {{- else if .Values.nats.peers }}
    {{- toYaml .Values.nats.peers | nindent 4 }}
    {{- else }}
    {{- include "aristobot.nearbyPeers" . | nindent 4 }}
    {{- end }}
  ports:
    - {protocol: TCP, port: {{ include "aristobot.portOf" (include "aristobot.natsUrl" .) }}}
{{- end }}

{{- define "aristobot.egress.database" -}}
- to:
    {{- if .Values.embedded.enabled }}
    {{- include "aristobot.platformPeers" (list . "postgres") | nindent 4 }}
    {{- else if .Values.cloudnativepg.enabled }}
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ .Release.Namespace }}
      podSelector:
        matchLabels:
          cnpg.io/cluster: {{ include "aristobot.name" (list . "db") }}
    {{- else if .Values.database.peers }}
    {{- toYaml .Values.database.peers | nindent 4 }}
    {{- else }}
    {{- include "aristobot.nearbyPeers" . | nindent 4 }}
    {{- end }}
  ports:
    - {protocol: TCP, port: {{ ternary 5432 .Values.database.port (or .Values.embedded.enabled .Values.cloudnativepg.enabled) }}}
{{- end }}

{{- define "aristobot.egress.telemetry" -}}
- to:
    {{- if not .Values.telemetry.otlpEndpoint }}
    {{- include "aristobot.platformPeers" (list . "api") | nindent 4 }}
    {{- else }}
    {{- toYaml .Values.telemetry.peers | nindent 4 }}
    {{- end }}
  ports:
    - {protocol: TCP, port: {{ include "aristobot.portOf" (include "aristobot.otlpEndpoint" .) }}}
{{- end }}

{{- define "aristobot.egress.simulator" -}}
- to:
    {{- include "aristobot.platformPeers" (list . "simulator") | nindent 4 }}
  ports:
    - {protocol: TCP, port: 8890}
{{- end }}

{{- define "aristobot.egress.internet" -}}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except: {{ toJson .Values.networkPolicy.internet.except }}
  ports:
    {{- range .Values.networkPolicy.internet.ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}

{{/* What Helm sees of the API server's endpoints is added, since they may be public addresses. */}}
{{- define "aristobot.egress.kubernetes" -}}
{{- $cidrs := .Values.operator.apiServer.cidrs -}}
{{- if not $cidrs -}}
{{- $cidrs = list "10.0.0.0/8" "172.16.0.0/12" "192.168.0.0/16" -}}
{{- $slices := lookup "discovery.k8s.io/v1" "EndpointSlice" "default" "kubernetes" | default dict -}}
{{- range $slices.endpoints -}}
{{- range .addresses -}}
{{- $cidrs = append $cidrs (printf "%s/%s" . (ternary "128" "32" (contains ":" .))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
- to:
    {{- range $cidrs | uniq }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  ports:
    {{- range .Values.operator.apiServer.ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}

{{/* (list . port): a rule of `ingress` that lets Prometheus read metrics; nothing unless it is wanted. */}}
{{- define "aristobot.fromPrometheus" -}}
{{- $monitor := (first .).Values.podMonitor -}}
{{- if $monitor.enabled }}
- from:
    - namespaceSelector:
        {{- toYaml $monitor.prometheus.namespaceSelector | nindent 8 }}
      podSelector:
        {{- toYaml $monitor.prometheus.podSelector | nindent 8 }}
  ports:
    - {protocol: TCP, port: {{ last . }}}
{{- end }}
{{- end }}
