{{- define "blocksift.name" -}}
{{ printf "%s-%s" .Release.Name .part | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "blocksift.selector" -}}
app.kubernetes.io/name: blocksift-{{ .part }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "blocksift.labels" -}}
{{ include "blocksift.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: blocksift
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "blocksift.container" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}
