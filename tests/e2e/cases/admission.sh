# Admission: quotas, the Pod Security Standards, webhooks that cannot be reached, policies in CEL.

setup() {
  cat >"$work/admission.yaml" <<'Y'
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: EventRateLimit
  configuration: {kind: Configuration, limits: [{type: User, qps: 1, burst: 2}]}
- name: PodNodeSelector
  configuration: {podNodeSelectorPluginConfig: {clusterDefaultNodeSelector: "", placed: "env=test,x=y1"}}
Y
  start_cluster -- --disable-agent --admission-control-config-file "$work/admission.yaml" \
    --enable-admission-plugins AlwaysPullImages,EventRateLimit,PodNodeSelector,PodTolerationRestriction,NamespaceAutoProvision,OwnerReferencesPermissionEnforcement
}

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

case_a_namespace_says_where_its_pods_go() {
  k create namespace placed
  k annotate namespace placed scheduler.alpha.kubernetes.io/node-selector=env=test 'scheduler.alpha.kubernetes.io/defaultTolerations=[{"key":"a","operator":"Exists"}]'
  k create serviceaccount default -n placed >/dev/null 2>&1 || true
  create "$(pod a placed '{containers: [{name: c, image: x}], nodeSelector: {x: y1}}')"
  same "$(field pod '{.spec.nodeSelector}' a -n placed | jq -cS .)" '{"env":"test","x":"y1"}'
  same "$(field pod '{.spec.tolerations[0].key}' a -n placed)" a
  has "$(create "$(pod b placed '{containers: [{name: c, image: x}], nodeSelector: {env: prod}}')" || true)" 'pod node label selector conflicts with its namespace node label selector'
  has "$(create "$(pod b placed '{containers: [{name: c, image: x}], nodeSelector: {z: z}}')" || true)" 'pod node label selector labels conflict with its namespace whitelist'
}

case_events_are_limited() {
  k create role writer --verb=create --resource=events; k create rolebinding writer --role=writer --user=loud
  local i out=
  for i in 1 2 3; do out+=$(printf 'apiVersion: v1\nkind: Event\nmetadata: {generateName: e}\ninvolvedObject: {namespace: default}\n' | k create --as loud -f - 2>&1 || true); done
  has "$out" '(TooManyRequests): error when creating "STDIN": limit reached on type User for key loud'
}

case_owners_are_named_by_those_who_may() {
  k create role editor --verb=create,get,patch --resource=configmaps; k create rolebinding editor --role=editor --user=editor
  k create configmap owner; k create configmap child
  local patch="{\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"owner\",\"uid\":\"$(field configmap '{.metadata.uid}' owner)\"}]}}"
  refused "cannot set an ownerRef on a resource you can't delete" k patch configmap child --as editor --type merge -p "$patch"
  k patch configmap child --type merge -p "$patch"
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

case_policies_are_checked_against_the_kinds_they_name() {
  create 'apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: typo}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE], resources: [deployments]}]}
  variables: [{name: first, expression: "object.spec.template.spec.containers[0]"}]
  validations: [{expression: "object.spec.replica <= 5"}, {expression: "variables.first.image != \"\"", messageExpression: "object.metadata.nam"}]'
  eventually 10 equals 1 field validatingadmissionpolicy '{.status.observedGeneration}' typo
  same "$(field validatingadmissionpolicy '{.status.typeChecking.expressionWarnings[*].fieldRef}' typo)" 'spec.validations[0].expression spec.validations[1].messageExpression'
  has "$(field validatingadmissionpolicy '{.status.typeChecking.expressionWarnings[0].warning}' typo)" "apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'replica'"
  k delete validatingadmissionpolicy typo
}

case_policies_are_checked_against_kinds_of_definitions() {
  local definition='apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gauges.checked.kcube.io}
spec: {group: checked.kcube.io, scope: Namespaced, names: {plural: gauges, kind: Gauge}, versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {SIZE: {type: integer}}}}}}}]}'
  create "${definition/SIZE/size}"
  k wait --for=condition=Established crd/gauges.checked.kcube.io
  create 'apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: sizes}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [checked.kcube.io], apiVersions: [v1], operations: [CREATE], resources: [gauges]}]}
  validations: [{expression: "object.spec.length <= 5"}]'
  eventually 10 contains "checked.kcube.io/v1, Kind=Gauge: ERROR: <input>:1:12: undefined field 'length'" field validatingadmissionpolicy '{.status.typeChecking.expressionWarnings[0].warning}' sizes
  k apply -f - <<<"${definition/SIZE/length}"
  eventually 10 equals '' field validatingadmissionpolicy '{.status.typeChecking.expressionWarnings}' sizes
  k delete validatingadmissionpolicy sizes
  k delete crd gauges.checked.kcube.io
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

case_a_namespace_is_made_on_the_way() {
  refused 'namespaces "made-up" not found' k create configmap a -n made-up --dry-run=server
  refused 'not found' k get namespace made-up
  k create configmap a -n made-up
  same "$(field namespace '{.status.phase}' made-up)" Active
  k create configmap b -n made-up
  # Reads and changes make none.
  refused 'not found' k get configmap a -n never
  refused 'not found' k get namespace never
}
