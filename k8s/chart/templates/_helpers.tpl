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
services fetch the keys of tokens from membership. */}}
{{- define "parta.peers" -}}
org-registry: [membership]
membership: [org-registry]
invitation: [org-registry, membership]
chat: [org-registry, membership]
call-scheduling: [org-registry, membership, chat]
{{- end }}

{{/* The gRPC services that clients may call. Those of `internal` packages are not among them. */}}
{{- define "parta.public" -}}
org-registry: [OrganizationService, UnitService, ApplicationService, OrgRegistryFeedService]
membership: [AuthenticationService, AppointmentService, MemberService, AssignmentService, EnrollmentService, GuardianshipService, ServiceAccountService, OperatorService, RosterImportService, MembershipFeedService]
invitation: [InvitationService, InvitationFeedService]
chat: [ChatService, MessageService, LiveService, ChatFeedService]
call-scheduling: [CallService, CallSchedulingFeedService]
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
