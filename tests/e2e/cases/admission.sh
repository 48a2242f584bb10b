# Admission: quotas, the Pod Security Standards, webhooks that cannot be reached, policies in CEL.

setup() { start_cluster -- --disable-agent --enable-admission-plugins AlwaysPullImages; }

# pod NAME NAMESPACE SPEC
pod() { printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: %s}\nspec: %s\n' "$1" "$2" "$3"; }
# create TEXT: what it says
create() { printf -- '---\n%s' "$1" | k create -f - 2>&1; }
quota_status() { [[ $(k get quota "$1" -n "$2" -o jsonpath='{.status.used.pods}') != '' ]]; }

case_quota_is_charged_before_the_write() {
  k create namespace quota; k create quota q -n quota --hard=pods=1,requests.cpu=1,count/configmaps=4
  eventually 10 quota_status q quota
  has "$(create "$(pod a quota '{containers: [{name: c, image: x}]}')" || true)" 'pods "a" is forbidden: failed quota: q: must specify requests.cpu for: c'
  create "$(pod a quota '{containers: [{name: c, image: x, resources: {requests: {cpu: 600m}}}]}')"
  has "$(create "$(pod b quota '{containers: [{name: c, image: x, resources: {requests: {cpu: 600m}}}]}')" || true)" \
    'exceeded quota: q, requested: pods=1,requests.cpu=600m, used: pods=1,requests.cpu=600m, limited: pods=1,requests.cpu=1'
  local i; for i in 1 2 3 4 5 6 7 8; do k create configmap "c$i" -n quota >/dev/null 2>&1 & done; wait
  same "$(k get configmaps -n quota --no-headers | wc -l)" 4
  same "$(k get quota q -n quota -o jsonpath='{.status.used.count/configmaps}')" 4
}

case_pod_security_refuses_and_warns() {
  k create namespace strict; k label namespace strict pod-security.kubernetes.io/enforce=restricted
  has "$(create "$(pod a strict '{containers: [{name: c, image: x}]}')" || true)" 'violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities'
  has "$(k create deployment d -n strict --image=x 2>&1)" 'would violate PodSecurity "restricted:latest"'
  refused 'must be one of privileged, baseline, restricted' k label namespace strict pod-security.kubernetes.io/warn=loose
}

case_images_are_always_pulled() {
  k run pulled --image=x:1 --image-pull-policy=Never
  same "$(k get pod pulled -o jsonpath='{.spec.containers[0].imagePullPolicy}')" Always
}

case_unreachable_webhooks() {
  k create namespace hooked; k label namespace hooked hook=yes
  local hook='clientConfig: {service: {name: none, namespace: default}}, sideEffects: None, admissionReviewVersions: [v1], namespaceSelector: {matchLabels: {hook: "yes"}}, rules: [{operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [configmaps]}]'
  create "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: h}, webhooks: [{name: a.kcube.io, $hook}]}"
  refused 'failed calling webhook "a.kcube.io": failed to call webhook: Post "https://none.default.svc:443/?timeout=10s": service "none" not found' k create configmap a -n hooked
  k create configmap a
  k patch validatingwebhookconfiguration h --type=json -p '[{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]'
  k create configmap a -n hooked
  k delete validatingwebhookconfiguration h
}

case_policies() {
  k create namespace judged; k create configmap limits -n judged --from-literal=max=3
  create 'apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: few}
spec:
  failurePolicy: Fail
  paramKind: {apiVersion: v1, kind: ConfigMap}
  matchConstraints: {resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}]}
  matchConditions: [{name: mine, expression: "authorizer.requestResource.check(\"update\").allowed()"}]
  variables: [{name: max, expression: "int(params.data.max)"}]
  validations: [{expression: "object.spec.replicas <= variables.max", messageExpression: "\"no more than \" + string(variables.max)"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: few}
spec:
  policyName: few
  validationActions: [Deny]
  paramRef: {name: limits, parameterNotFoundAction: Deny}
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: judged}}}'
  refused "ValidatingAdmissionPolicy 'few' with binding 'few' denied request: no more than 3" k create deployment d -n judged --image=x --replicas=4
  k create deployment d -n judged --image=x --replicas=3
  refused 'undeclared reference' create '{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: bad}, spec: {failurePolicy: Fail, matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]}, validations: [{expression: "obiect.x"}]}}'
}
