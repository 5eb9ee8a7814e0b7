{{/* Labels of every object of a service. */}}
{{- define "parta.labels" -}}
app.kubernetes.io/name: {{ . }}
app.kubernetes.io/part-of: parta
{{- end }}

{{/* The image, by its digest. */}}
{{- define "parta.image" -}}
{{ printf "%s/%s@%s" .Values.image.registry .Values.image.repository .Values.image.digest }}
{{- end }}

{{/* The services that each service calls or whose feed it consumes, as ARCHITECTURE.md lists them. All
services fetch the keys of tokens from membership and poll its revocations. */}}
{{- define "parta.peers" -}}
org-registry: [membership]
membership: [org-registry]
invitation: [org-registry, membership]
chat: [org-registry, membership]
call-scheduling: [org-registry, membership, chat]
{{- end }}

{{/* The gRPC services that clients may call. Those of `internal` packages are not among them. */}}
{{- define "parta.public" -}}
org-registry: [OrganizationService, PolicyService, UnitService, ApplicationService, OrgRegistryFeedService, OrgRegistryJobService, OrgRegistryQuarantineService]
membership: [AuthenticationService, AccountService, AppointmentService, MemberService, AssignmentService, EnrollmentService, GuardianshipService, JoinRequestService, DutyService, RoleService, SuspensionService, ServiceAccountService, OneTimeCodeService, OperatorService, RosterImportService, MembershipFeedService, MembershipJobService, MembershipQuarantineService]
invitation: [InvitationService, InvitationFeedService, InvitationJobService, InvitationQuarantineService]
chat: [ChatService, MessageService, LiveService, ChatFeedService, ChatJobService, ChatQuarantineService]
call-scheduling: [CallService, CallSchedulingFeedService, CallSchedulingJobService, CallSchedulingQuarantineService]
{{- end }}

{{/* The smallest number of pods of a service: the context has the service's name and the root. */}}
{{- define "parta.fewest" -}}
{{- $auto := index .root.Values.autoscaling.services .name }}
{{- if and .root.Values.autoscaling.enabled $auto }}{{ $auto.min }}{{ else }}{{ (index .root.Values.services .name).replicas }}{{ end }}
{{- end }}

{{/* The security context of a container. The uid is that of the image, so that platforms may choose another
one. */}}
{{- define "parta.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* The settings of every pod: no token of the cluster, and the credentials of the registry. */}}
{{- define "parta.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Files of Secrets are read by the group of the image and by nobody else. The mode is 0440 in decimal:
YAML 1.1 and 1.2 read an octal number differently. */}}
{{- define "parta.mode" -}}
288
{{- end }}

{{/* Replicas prefer different nodes. The context is the service's name. */}}
{{- define "parta.spread" -}}
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "parta.labels" . | nindent 6 }}
{{- end }}

{{/* The ports of a container of Parta. Kubernetes cannot check health over TLS, so that a listener with TLS
has a second port, which serves nothing else. */}}
{{- define "parta.ports" -}}
- {name: grpc, containerPort: 7710, protocol: TCP}
{{- if .Values.certManager.enabled }}
- {name: health, containerPort: 7720, protocol: TCP}
{{- end }}
{{- end }}

{{/* The files of TLS. They are variables of the container that serves, and not in the ConfigMap: `migrate`
has no listener and mounts no certificate. */}}
{{- define "parta.tlsFiles" -}}
- {name: PARTA__SERVER__TLS_CERTIFICATE_FILE, value: /etc/parta/tls/tls.crt}
- {name: PARTA__SERVER__TLS_KEY_FILE, value: /etc/parta/tls/tls.key}
{{- if not .Values.singleNode.enabled }}
- {name: PARTA__SERVER__TLS_AUTHORITY_FILE, value: /etc/parta/tls/ca.crt}
{{- end }}
{{- end }}

{{- define "parta.probes" -}}
{{- $port := ternary 7720 7710 .Values.certManager.enabled -}}
startupProbe:
  grpc: {port: {{ $port }}, service: startup}
  periodSeconds: 2
  failureThreshold: 150
readinessProbe:
  grpc: {port: {{ $port }}, service: readiness}
  periodSeconds: 5
livenessProbe:
  grpc: {port: {{ $port }}, service: liveness}
  periodSeconds: 10
  timeoutSeconds: 5
{{- end }}

{{/* The protocol of the port of a Service. */}}
{{- define "parta.appProtocol" -}}
{{ ternary "https" "kubernetes.io/h2c" .Values.certManager.enabled }}
{{- end }}

{{/* The rules of egress that every pod of Parta has. */}}
{{- define "parta.egressDns" -}}
# Names.
- ports:
    {{- range .Values.networkPolicy.dns.ports }}
    - {port: {{ . }}, protocol: UDP}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  to:
    {{- toYaml .Values.networkPolicy.dns.to | nindent 4 }}
{{- end }}

{{- define "parta.egressDelivery" -}}
# The mail server and the SMS gateway.
- ports:
    {{- range .Values.networkPolicy.delivery.ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  to:
    {{- toYaml .Values.networkPolicy.delivery.to | nindent 4 }}
{{- end }}

{{- define "parta.egressMedia" -}}
# The media server.
- ports:
    {{- range .Values.networkPolicy.media.ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  to:
    {{- toYaml .Values.networkPolicy.media.to | nindent 4 }}
{{- end }}

{{- define "parta.egressTelemetry" -}}
# The collector of telemetry.
- ports: [{port: {{ ternary 4317 .Values.networkPolicy.telemetry.port .Values.otelCollector.enabled }}, protocol: TCP}]
  to:
    {{- if .Values.otelCollector.enabled }}
    - podSelector:
        matchLabels:
          {{- include "parta.labels" "otel-collector" | nindent 10 }}
    {{- else }}
    {{- toYaml .Values.networkPolicy.telemetry.to | nindent 4 }}
    {{- end }}
{{- end }}

{{/* A quantity of memory in bytes. The schema permits whole numbers with these units only. */}}
{{- define "parta.bytes" -}}
{{- $units := dict "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "" 1 }}
{{- $number := regexFind "^[0-9]+" . }}
{{- mul ($number | int64) (get $units (trimPrefix $number .) | int64) }}
{{- end }}
