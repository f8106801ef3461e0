{{- define "flowy.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains "flowy" .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-flowy" .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Names without a namespace: two releases in different namespaces must not meet. */}}
{{- define "flowy.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "flowy.fullname" .) -}}
{{- end -}}

{{- define "flowy.serviceAccount" -}}
{{- if .Values.serviceAccount.name -}}
{{- .Values.serviceAccount.name -}}
{{- else if .Values.serviceAccount.create -}}
{{- include "flowy.fullname" . -}}
{{- else -}}
default
{{- end -}}
{{- end -}}

{{- define "flowy.selector" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default "flowy" }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "flowy.labels" -}}
{{ include "flowy.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "flowy.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "flowy.gatewayUrl" -}}
{{- .Values.gateway.url | default (printf "http://%s.%s.svc:%v" (include "flowy.fullname" .) .Release.Namespace .Values.gateway.port) -}}
{{- end -}}

{{/* Where `helm test` runs its workflow: the operator must look there. */}}
{{- define "flowy.testNamespace" -}}
{{- first (append (.Values.namespaces | default list) .Release.Namespace) -}}
{{- end -}}

{{- define "flowy.subject" -}}
subjects:
- kind: ServiceAccount
  name: {{ include "flowy.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{- define "flowy.environment" -}}
{{- if eq (int .Values.gateway.port) (int .Values.health.port) }}
{{- fail "gateway.port and health.port must differ: one process listens on both" }}
{{- end }}
{{- $given := dict "DECIDER_SOCKET" "/run/flowy/decider.sock" "GATEWAY_PORT" .Values.gateway.port "GATEWAY_URL" (include "flowy.gatewayUrl" .) "HEALTH_PORT" .Values.health.port "LEADER_ELECTION" true "LEASE_NAME" (include "flowy.fullname" .) }}
{{- if .Values.namespaces }}
{{- $_ := set $given "NAMESPACES" .Values.namespaces }}
{{- end }}
{{- if .Values.restrict.inlineCode }}
{{- $_ := set $given "DEFINITIONS_ONLY" true }}
{{- end }}
{{- if gt (int .Values.shards) 1 }}
{{- $_ := set $given "SHARDS" .Values.shards }}
{{- end }}
{{- range $name, $value := .Values.settings }}
{{- $_ := set $given ($name | snakecase | upper) $value }}
{{- end }}
{{- range $name, $value := $given }}
- name: FLOWY_{{ $name }}
  {{- /* As JSON: Helm would write 67108864 as 6.7108864e+07. */}}
  value: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}
{{- end }}
{{- end }}

{{- define "flowy.hook" -}}
helm.sh/hook: test
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
