# CustomResourceDefinitions: what a user sees of them with kubectl.

setup() {
  start_cluster -- --disable-agent
  k apply -f - <<'Y'
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        description: A table of what to run when.
        properties:
          spec:
            type: object
            required: [cronSpec]
            properties:
              cronSpec: {type: string, description: When to run.}
              image: {type: string, default: busybox}
              replicas: {type: integer, minimum: 1, maximum: 10}
              ports:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items: {type: object, required: [name], properties: {name: {type: string}, port: {type: integer}}}
          status: {type: object, properties: {replicas: {type: integer}}}
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
    additionalPrinterColumns:
    - {name: Spec, type: string, jsonPath: .spec.cronSpec}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    selectableFields: [{jsonPath: .spec.image}]
  - name: v1beta1
    served: true
    storage: false
    deprecated: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
Y
  k wait --for=condition=Established crd/crontabs.stable.example.com --timeout=10s
}

crontab() {  # NAME SPEC [NAMESPACE]
  printf 'apiVersion: stable.example.com/v1\nkind: CronTab\nmetadata: {name: %s, namespace: %s}\nspec: {%s}\n' "$1" "${3:-default}" "$2"
}
apply_crontab() { crontab "$@" | k apply -f -; }

case_a_definition_is_found_and_explained() {
  has "$(k api-resources --api-group=stable.example.com)" "CronTab"
  has "$(k get --raw /apis/stable.example.com)" '"preferredVersion":{"groupVersion":"stable.example.com/v1"'
  # Of stable.example.com/v1/CronTab: storage migrators tell by it in which version objects are written.
  same "$(k get --raw /apis/stable.example.com/v1beta1 | jq -r '.resources[0].storageVersionHash')" "$(printf stable.example.com/v1/CronTab | openssl dgst -sha256 -binary | head -c 8 | base64)"
  has "$(k explain crontab.spec.cronSpec)" "When to run."
  has "$(k explain ct)" "A table of what to run when."
}

case_objects_are_created_shown_and_selected() {
  apply_crontab a 'cronSpec: "* * * * 1", replicas: 3'
  apply_crontab b 'cronSpec: "* * * * 2", image: other'
  matches "$(k get ct)" 'NAME +SPEC +REPLICAS'
  matches "$(k get all)" 'crontab.stable.example.com/a +\* \* \* \* 1 +3'
  same "$(field ct/a '{.spec.image}')" busybox
  same "$(k get ct --field-selector spec.image=other -o name)" crontab.stable.example.com/b
  has "$(apply_crontab a 'cronSpec: "* * * * 1", replicas: 3')" unchanged
  k scale ct a --replicas 5
  same "$(field ct/a '{.spec.replicas} {.metadata.generation}')" "5 2"
  k patch ct a --subresource status --type merge -p '{"status":{"replicas":4},"spec":{"replicas":9}}'
  same "$(field ct/a '{.spec.replicas} {.status.replicas} {.metadata.generation}')" "5 4 2"
}

case_what_the_schema_forbids_is_refused() {
  refused 'unknown field "spec.nope"' apply_crontab c 'cronSpec: x, nope: 1'
  refused "spec.cronSpec: Required value" apply_crontab c 'replicas: 1'
  refused "spec.replicas in body should be less than or equal to 10" apply_crontab c 'cronSpec: x, replicas: 11'
  refused 'Duplicate value: {"name":"p"}' apply_crontab c 'cronSpec: x, ports: [{name: p}, {name: p}]'
  refused "application/strategic-merge-patch+json is not supported" k patch ct a --type strategic -p '{}'
}

case_server_side_apply_merges_lists_by_key() {
  crontab s 'cronSpec: x, ports: [{name: a, port: 1}]' | k apply --server-side --field-manager one -f -
  crontab s 'ports: [{name: b, port: 2}], cronSpec: x' | k apply --server-side --field-manager two -f -
  same "$(field ct/s '{.spec.ports[*].name}')" "a b"
  refused "conflict with \"one\"" bash -c "echo '$(crontab s 'cronSpec: z')' | $(kubectl_line) apply --server-side --field-manager two -f -"
}

case_versions_are_converted_by_name_and_deprecation_is_said() {
  has "$(k get crontabs.v1beta1.stable.example.com a -o yaml)" "apiVersion: stable.example.com/v1beta1"
  has "$(k get crontabs.v1beta1.stable.example.com a 2>&1 >/dev/null)" "stable.example.com/v1beta1 CronTab is deprecated"
}

case_owners_and_namespaces_take_them_along() {
  k create configmap owner
  apply_crontab owned 'cronSpec: x'
  k patch ct owned --type merge -p "{\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"owner\",\"uid\":\"$(field cm/owner '{.metadata.uid}')\"}]}}"
  k delete configmap owner
  eventually 10 contains NotFound k get ct owned
  k create namespace other
  apply_crontab inside 'cronSpec: x' other
  k delete namespace other --timeout=20s
  hasnt "$(k get ct -A)" inside
}

case_they_survive_a_restart() {
  local pid; pid=$(server_pid)
  kill -9 "$pid"; eventually 10 bash -c "! kill -0 $pid 2>/dev/null"
  lab up
  same "$(field ct/a '{.spec.replicas}')" 5
  k patch ct a --type merge -p '{"spec":{"replicas":6}}'
}

case_a_quota_counts_them() {
  k create namespace counted; k create quota q -n counted --hard=count/crontabs.stable.example.com=2
  local used='{.status.used.count/crontabs\.stable\.example\.com}'
  eventually 10 equals 0 field quota "$used" q -n counted
  apply_crontab a 'cronSpec: x' counted; apply_crontab b 'cronSpec: x' counted
  refused 'exceeded quota: q, requested: count/crontabs.stable.example.com=1, used: count/crontabs.stable.example.com=2, limited: count/crontabs.stable.example.com=2' apply_crontab c 'cronSpec: x' counted
  k delete crontab a -n counted
  eventually 10 equals 1 field quota "$used" q -n counted
  apply_crontab c 'cronSpec: x' counted
}

case_names_that_are_taken_are_not_accepted() {
  k get crd crontabs.stable.example.com -o json | jq '.metadata = {name: "cron2s.stable.example.com"} | .spec.names = {plural: "cron2s", kind: "CronTab"} | del(.status)' | k apply -f -
  eventually 5 equals False field crd/cron2s.stable.example.com '{.status.conditions[?(@.type=="NamesAccepted")].status}'
  same "$(field crd/cron2s.stable.example.com '{.status.conditions[?(@.type=="Established")].status}')" False
  k delete crd cron2s.stable.example.com
}

case_a_definition_goes_with_its_objects() {
  k patch ct b --type merge -p '{"metadata":{"finalizers":["example.com/hold"]}}'
  k_background get ct -w --output-watch-events --no-headers >"$work/ct.out" 2>&1
  local watcher=$!
  eventually 10 grep -q 'ADDED *b' "$work/ct.out"
  k delete crd crontabs.stable.example.com --wait=false
  eventually 10 contains InstanceDeletionInProgress k get crd crontabs.stable.example.com -o yaml
  refused "create not allowed while custom resource definition is terminating" bash -c "echo '$(crontab z 'cronSpec: x')' | $(kubectl_line) create -f -"
  k patch ct b --type merge -p '{"metadata":{"finalizers":null}}'
  k wait --for=delete crd/crontabs.stable.example.com --timeout=10s
  # Who watches sees them go, and then that there is nothing more to watch.
  eventually 10 grep -q 'DELETED *b' "$work/ct.out"
  wait "$watcher" || true
  refused "could not find the requested resource" k get crontabs
}
