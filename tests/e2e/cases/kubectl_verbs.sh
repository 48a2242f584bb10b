# Point 3, the verbs that read and write objects; run once for each kubectl.

setup() {
  start_cluster
  load_busybox
  k create deployment web --image kcube.io/demo:1 --replicas 2
  k rollout status deployment/web --timeout 60s
}

case_version_and_cluster_info() {
  matches "$(k version)" 'Server Version: v1\.36'
  has "$(k cluster-info)" "Kubernetes control plane"
  has "$(k cluster-info)" "is running at"
  same "$(k config current-context)" kcube
  has "$(k config get-contexts)" kcube
  has "$(k config view)" "DATA+OMITTED"
  k cluster-info dump --namespaces default --output-directory "$work/dump" >/dev/null
  [[ -s $work/dump/nodes.json ]]
}

case_api_resources_and_explain() {
  local all; all=$(k api-resources)
  matches "$all" 'deployments +deploy +apps/v1 +true +Deployment'
  matches "$all" 'nodes +no +v1 +false +Node'
  has "$(k api-resources -o wide --api-group=apps)" create,delete,deletecollection,get,list,patch,update,watch
  has "$(k api-resources --namespaced=false -o name)" clusterroles.rbac.authorization.k8s.io
  has "$(k api-versions)" apps/v1
  has "$(k explain pod.spec.containers)" "FIELDS:"
  has "$(k explain pod.spec.containers.image)" "image"
  has "$(k explain deployments --recursive)" "maxSurge"
  has "$(k explain cronjob.spec.schedule)" "<string>"
  refused "does not exist" k explain pod.spec.nonsense
}

case_create_of_every_kind() {
  k create namespace made
  k create configmap one -n made --from-literal=a=1 --from-literal=b=2
  echo text > "$work/file.txt"
  k create configmap files -n made --from-file="$work/file.txt"
  k create secret generic hush -n made --from-literal=password=x
  k create secret docker-registry pull -n made --docker-server=r --docker-username=u --docker-password=p
  k create serviceaccount robot -n made
  k create role reader -n made --verb=get,list --resource=pods
  k create rolebinding readers -n made --role=reader --serviceaccount=made:robot
  k create clusterrole "reader-$$" --verb=get --resource=nodes
  k create clusterrolebinding "readers-$$" --clusterrole="reader-$$" --user=jane
  k create job once -n made --image=kcube.io/busybox:1 -- true
  k create cronjob often -n made --image=kcube.io/busybox:1 --schedule='0 0 1 1 *' -- true
  k create job manual -n made --from=cronjob/often
  k create service clusterip svc -n made --tcp=80:8080
  k create service nodeport np -n made --tcp=80:8080
  k create service externalname ext -n made --external-name=example.org
  k create quota few -n made --hard=pods=50
  k create poddisruptionbudget pdb -n made --selector=app=x --min-available=1
  k create ingress web -n made --rule='example.org/=svc:80'
  k create priorityclass "high-$$" --value=10
  matches "$(k create token robot -n made)" '^[^.]+\.[^.]+\.[^.]+$'
  k wait --for=condition=complete job/once job/manual -n made --timeout=60s
  same "$(field cm/files '{.data.file\.txt}' -n made)" text
  refused 'already exists' k create configmap one -n made
  k create deployment dry --image=x --dry-run=server -o name
  refused NotFound k get deployment dry
  has "$(k create deployment dry --image=x --dry-run=client -o yaml)" "kind: Deployment"
  k delete namespace made --timeout=60s
}

case_get_prints_tables() {
  matches "$(k get deployments)" 'NAME +READY +UP-TO-DATE +AVAILABLE +AGE'
  matches "$(k get deployments)" 'web +2/2 +2 +2 '
  matches "$(k get deployments -o wide)" 'CONTAINERS +IMAGES +SELECTOR'
  matches "$(k get nodes -o wide)" 'NAME +STATUS +ROLES +AGE +VERSION +INTERNAL-IP'
  matches "$(k get pods -A)" 'NAMESPACE +NAME +READY +STATUS +RESTARTS +AGE'
  matches "$(k get pods --show-labels -l app=web)" 'pod-template-hash='
  matches "$(k get pods -L app)" 'APP'
  has "$(k get all)" "service/kubernetes"
  has "$(k get deployment,replicaset,service)" "replicaset.apps/web-"
  matches "$(k get events)" 'LAST SEEN +TYPE +REASON'
  has "$(k get pods -n nowhere 2>&1)" "No resources found in nowhere namespace."
  refused 'deployments.apps "none" not found' k get deployment none
  refused "the server doesn't have a resource type" k get nonsense
}

case_get_formats() {
  has "$(k get deployment web -o yaml)" "replicas: 2"
  same "$(k get deployment web -o json | jq -r .spec.template.spec.containers[0].image)" kcube.io/demo:1
  same "$(k get deployment web -o 'jsonpath={.spec.replicas}')" 2
  same "$(k get deployment web -o name)" deployment.apps/web
  same "$(k get deployment web -o 'go-template={{.metadata.name}}')" web
  same "$(k get deployment web -o custom-columns=N:.metadata.name --no-headers)" web
  same "$(k get pods -l app=web -o json | jq '.items | length')" 2
  hasnt "$(k get deployment web -o yaml)" managedFields
  has "$(k get deployment web -o yaml --show-managed-fields)" managedFields
  same "$(k get --raw /readyz)" ok
}

case_get_selects() {
  k create namespace select
  local i; for i in 1 2 3; do k create configmap "c$i" -n select; k label configmap "c$i" -n select n=$i odd=$((i % 2)); done
  same "$(k get cm -n select -l odd=1 -o name | wc -l)" 2
  same "$(k get cm -n select -l 'n in (2,3)' -o name | wc -l)" 2
  same "$(k get cm -n select -l 'n notin (2),n' -o name | wc -l)" 2
  same "$(k get cm -n select -l '!n' -o name)" configmap/kube-root-ca.crt
  same "$(k get cm -n select --field-selector metadata.name=c2 -o name)" configmap/c2
  same "$(k get cm -n select --sort-by=.metadata.labels.n -l n -o name | tail -1)" configmap/c3
  same "$(k get cm -n select --chunk-size=1 -o name | wc -l)" 4
  same "$(k get pods --field-selector status.phase=Running,spec.nodeName=node1 -l app=web -o name | wc -l)" 2
  k delete namespace select --timeout=60s
}

case_get_watches() {
  k_background get configmaps -w --no-headers >"$work/watch.out" 2>&1
  local watcher=$!
  eventually 10 contains kube-root-ca cat "$work/watch.out"
  k create configmap seen
  eventually 10 contains seen cat "$work/watch.out"
  k delete configmap seen
  kill $watcher
  has "$(timeout 5 "$(command -v nsenter)" --net="/run/netns/kcl-$lab_name-1" -- "$KUBECTL" get deployment web --watch-only -o name 2>&1 & sleep 1; k annotate deployment web seen=yes >/dev/null; wait)" deployment.apps/web
}

case_describe() {
  local pod; pod=$(k get pods -l app=web -o 'jsonpath=pod/{.items[0].metadata.name}')
  matches "$(k describe "$pod")" 'Status: +Running'
  has "$(k describe "$pod")" "Successfully assigned default/"
  matches "$(k describe deployment web)" 'Replicas: +2 desired \| 2 updated \| 2 total \| 2 available'
  has "$(k describe deployment web)" "ScalingReplicaSet"
  has "$(k describe node node1)" "Non-terminated Pods:"
  matches "$(k describe service kubernetes)" 'Endpoints: +10\.99\.0\.1:6443'
  has "$(k describe namespace kube-system)" Active
}

case_apply_client_side() {
  deployment() { printf -- '---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: applied, labels: {%s}}, data: {%s}}\n' "$1" "$2"; }
  has "$(deployment 'x: a' 'one: "1", two: "2"' | k apply -f -)" created
  has "$(deployment 'x: a' 'one: "1", two: "2"' | k apply -f -)" unchanged
  has "$(deployment 'x: b' 'one: "1"' | k diff -f - || true)" '-  two: "2"'
  has "$(deployment 'x: b' 'one: "1"' | k apply -f -)" configured
  same "$(field cm/applied '{.data}')" '{"one":"1"}'
  k patch cm applied --type merge -p '{"data":{"mine":"kept"}}'
  deployment 'x: b' 'one: "3"' | k apply -f -
  same "$(field cm/applied '{.data.mine}{.data.one}')" kept3
  has "$(k apply view-last-applied cm/applied)" "one:"
  mkdir -p "$work/many"
  for n in 1 2; do deployment "set: many" 'k: v' | sed "s/name: applied/name: many$n/" >"$work/many/$n.yaml"; done
  k apply -f "$work/many" -l set=many
  rm "$work/many/2.yaml"
  has "$(k apply -f "$work/many" -l set=many --prune --prune-allowlist=core/v1/ConfigMap)" "configmap/many2 pruned"
  k delete cm applied many1
}

case_apply_server_side() {
  config() { printf -- '---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: served}, data: {%s}}\n' "$1"; }
  has "$(config 'a: "1", b: "2"' | k apply --server-side -f -)" serverside-applied
  same "$(k get cm served -o json --show-managed-fields | jq -r '.metadata.managedFields[0] | .manager + " " + .operation')" "kubectl Apply"
  config 'a: "2"' >"$work/other.yaml"
  refused 'conflict with "kubectl"' k apply --server-side --field-manager=other -f "$work/other.yaml"
  k apply --server-side --field-manager=other --force-conflicts -f "$work/other.yaml"
  same "$(field cm/served '{.data.a}{.data.b}')" 22
  config 'c: "3"' | k apply --server-side -f -
  same "$(field cm/served '{.data}')" '{"a":"2","c":"3"}'
  k delete cm served
  k apply --server-side -f - <<<$'---\n{apiVersion: apps/v1, kind: Deployment, metadata: {name: ssa}, spec: {replicas: 0, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: x, image: x, ports: [{containerPort: 80}]}]}}}}'
  k delete deployment ssa
}

case_edit() {
  k create configmap edited --from-literal=a=before
  KUBE_EDITOR='sed -i s/before/after/' k edit configmap edited
  same "$(field cm/edited '{.data.a}')" after
  has "$(KUBE_EDITOR=true k edit configmap edited 2>&1)" "no changes made"
  k delete configmap edited
}

case_patch_of_every_type() {
  k create deployment patched --image=kcube.io/demo:1 --replicas=0
  k patch deployment patched --type=json -p '[{"op":"add","path":"/metadata/annotations","value":{"a":"1"}},{"op":"test","path":"/spec/replicas","value":0}]'
  k patch deployment patched --type=merge -p '{"metadata":{"annotations":{"a":null,"b":"2"}}}'
  same "$(field deployment/patched '{.metadata.annotations.a}{.metadata.annotations.b}')" 2
  k patch deployment patched -p '{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"kcube.io/demo:1"}]}}}}'
  same "$(field deployment/patched '{range .spec.template.spec.containers[*]}{.name} {end}')" "side demo "
  k patch deployment patched -p '{"spec":{"template":{"spec":{"containers":[{"name":"side","$patch":"delete"}]}}}}'
  same "$(field deployment/patched '{.spec.template.spec.containers[*].name}')" demo
  k patch deployment patched --subresource=scale --type=merge -p '{"spec":{"replicas":1}}'
  same "$(field deployment/patched '{.spec.replicas}')" 1
  k patch deployment patched --subresource=status --type=merge -p '{"status":{"collisionCount":3}}'
  refused "the server rejected our request due to an error in our request" k patch deployment patched --type=json -p '[{"op":"test","path":"/spec/replicas","value":99}]'
  has "$(k patch deployment patched -p '{}')" "patched (no change)"
  k delete deployment patched
}

case_replace_and_set() {
  k create deployment set --image=kcube.io/demo:1 --replicas=0
  k set image deployment/set demo=kcube.io/busybox:1
  k set env deployment/set A=1
  k set resources deployment/set --limits=memory=32Mi
  k create serviceaccount setter
  k set serviceaccount deployment/set setter
  same "$(k get deployment set -o json | jq -c '.spec.template.spec | [.containers[0].image, .containers[0].env[0].value, .containers[0].resources.limits.memory, .serviceAccountName]')" '["kcube.io/busybox:1","1","32Mi","setter"]'
  k get deployment set -o json | jq '.metadata.labels.replaced = "yes"' | k replace -f -
  same "$(field deployment/set '{.metadata.labels.replaced}')" yes
  k get deployment set -o json | jq '.metadata.resourceVersion = "1"' >"$work/stale.json"
  refused "the object has been modified" k replace -f "$work/stale.json"
  k get deployment set -o json | k replace --force -f -
  k delete deployment/set sa/setter
}

case_delete_cascades() {
  k create deployment gone --image=kcube.io/demo:1
  k rollout status deployment/gone --timeout=60s
  k delete deployment gone --cascade=orphan
  same "$(k get rs -l app=gone -o name | wc -l)" 1
  k delete rs -l app=gone --cascade=foreground
  same "$(k get pods -l app=gone -o name)" ""
  k create deployment gone --image=kcube.io/demo:1
  k rollout status deployment/gone --timeout=60s
  k delete deployment gone
  eventually 30 equals "" k get rs,pods -l app=gone -o name
}

case_delete_with_grace() {
  k run slow --image=kcube.io/busybox:1 --command -- sh -c 'trap "" TERM; while true; do sleep 1; done'
  ready pod/slow
  k delete pod slow --wait=false
  matches "$(k get pod slow --no-headers)" Terminating
  k delete pod slow --grace-period=0 --force
  refused NotFound k get pod slow
  k run quick --image=kcube.io/demo:1
  ready pod/quick
  k delete pod quick --now --timeout=30s
  k create cm d1; k create cm d2; k label cm d1 d2 batch=yes
  same "$(k delete cm -l batch=yes -o name | wc -l)" 2
  has "$(k delete pod none --ignore-not-found; echo done)" done
  k create cm dry; k delete cm dry --dry-run=server; k get cm dry; k delete cm dry
}

case_scale() {
  k create deployment scaled --image=kcube.io/demo:1
  k scale deployment scaled --replicas=3
  k rollout status deployment/scaled --timeout=60s
  same "$(field deployment/scaled '{.status.readyReplicas}')" 3
  refused "Expected replicas to be 7, was 3" k scale deployment scaled --current-replicas=7 --replicas=1
  k scale deployment scaled --current-replicas=3 --replicas=0
  eventually 30 equals "" k get pods -l app=scaled -o name
  k autoscale deployment scaled --min=1 --max=2
  same "$(field hpa/scaled '{.spec.maxReplicas}')" 2
  k delete deployment/scaled hpa/scaled
}

case_rollout() {
  k create deployment roll --image=kcube.io/demo:1 --replicas=2
  k rollout status deployment/roll --timeout=60s
  k set env deployment/roll GREETING=Second
  has "$(k rollout status deployment/roll --timeout=60s)" "successfully rolled out"
  matches "$(k rollout history deployment/roll)" 'REVISION +CHANGE-CAUSE'
  has "$(k rollout history deployment/roll --revision=2)" Second
  k rollout undo deployment/roll
  k rollout status deployment/roll --timeout=60s
  same "$(field deployment/roll '{.spec.template.spec.containers[0].env}')" ""
  has "$(k rollout history deployment/roll)" 3
  k rollout restart deployment/roll
  k rollout status deployment/roll --timeout=60s
  has "$(k get deployment roll -o yaml)" kubectl.kubernetes.io/restartedAt
  k rollout pause deployment/roll
  k set env deployment/roll GREETING=Paused
  same "$(k get pods -l app=roll -o yaml | grep -c Paused)" 0 || true
  k rollout resume deployment/roll
  k rollout status deployment/roll --timeout=60s
  k rollout undo deployment/roll --to-revision=2
  k rollout status deployment/roll --timeout=60s
  same "$(field deployment/roll '{.spec.template.spec.containers[0].env[0].value}')" Second
  k delete deployment roll
}

case_expose() {
  k expose deployment web --port=80 --target-port=8080 --name=shown
  eventually 20 contains ":8080" k get endpoints shown
  local ip; ip=$(field svc/shown '{.spec.clusterIP}')
  eventually 20 contains "Hello from web-" on_host 1 curl -s -m 5 "http://$ip"
  k expose deployment web --port=80 --target-port=8080 --name=node --type=NodePort
  eventually 20 contains "Hello from web-" on_host 1 curl -s -m 5 "http://10.99.0.1:$(field svc/node '{.spec.ports[0].nodePort}')"
  k delete service shown node
}

case_run() {
  k run plain --image=kcube.io/demo:1 --port=8080 --labels=a=b --env=GREETING=Hi --expose
  ready pod/plain
  eventually 20 contains "Hi from plain" on_host 1 curl -s -m 5 "http://$(field svc/plain '{.spec.clusterIP}'):8080"
  k delete pod/plain svc/plain --now
  has "$(k run once --image=kcube.io/busybox:1 --restart=Never --rm -i --quiet --command -- echo printed 2>&1)" printed
  has "$(echo piped | k run piped --image=kcube.io/busybox:1 --restart=Never --rm -i --quiet --command -- cat 2>&1)" piped
  k run code --image=kcube.io/busybox:1 --restart=Never --command -- sh -c 'exit 3'
  k wait --for=jsonpath='{.status.phase}'=Failed pod/code --timeout=60s
  same "$(field pod/code '{.status.containerStatuses[0].state.terminated.exitCode}')" 3
  k delete pod code
}

case_label_and_annotate() {
  k create configmap tagged
  k label cm tagged a=1
  refused "already has a value" k label cm tagged a=2
  k label cm tagged a=2 --overwrite
  same "$(k label cm tagged --list)" a=2
  k label cm tagged a-
  k annotate cm tagged note='some words'
  same "$(field cm/tagged '{.metadata.labels}{.metadata.annotations.note}')" "some words"
  k annotate cm --all note-
  refused "invalid label" k label cm tagged 'b=not ok'
  k delete cm tagged
}

case_wait() {
  k create configmap waited
  (sleep 0.5; k patch cm waited --type=merge -p '{"data":{"state":"done"}}' >/dev/null) &
  k wait --for=jsonpath='{.data.state}'=done cm/waited --timeout=20s
  (sleep 0.5; k delete cm waited >/dev/null) &
  k wait --for=delete cm/waited --timeout=20s
  k wait --for=condition=Available deployment/web --timeout=20s
  refused "timed out waiting" k wait --for=condition=Never deployment/web --timeout=1s
  k_background wait --for=create cm/late --timeout=20s
  local waiter=$!
  sleep 0.5; k create cm late; wait $waiter; k delete cm late
}

case_auth() {
  same "$(k auth can-i '*' '*')" yes
  same "$(k auth can-i list pods --as=jane || true)" no
  k create role looker --verb=get,list --resource=pods
  k create rolebinding jane --role=looker --user=jane
  eventually 10 equals yes k auth can-i list pods --as=jane
  has "$(k auth can-i --list --as=jane)" pods
  refused 'configmaps is forbidden: User "jane" cannot list resource "configmaps" in API group "" in the namespace "default"' k get cm --as=jane
  has "$(k auth whoami)" system:masters
  k auth reconcile -f - <<<$'---\n{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: looker, namespace: default}, rules: [{apiGroups: [""], resources: [configmaps], verbs: [list]}]}'
  eventually 10 equals yes k auth can-i list configmaps --as=jane
  k delete role/looker rolebinding/jane
}

case_cordon_drain_taint() {
  k create deployment drained --image=kcube.io/demo:1
  k rollout status deployment/drained --timeout=60s
  k cordon node1
  has "$(k get node node1)" "Ready,SchedulingDisabled"
  k drain node1 --ignore-daemonsets --pod-selector=app=drained --timeout=60s
  eventually 20 contains Pending k get pods -l app=drained
  k uncordon node1
  k rollout status deployment/drained --timeout=60s
  k taint node node1 e2e=yes:PreferNoSchedule
  has "$(k describe node node1)" "e2e=yes:PreferNoSchedule"
  k taint node node1 e2e-
  k delete deployment drained
}

case_kustomize_and_plain_files() {
  mkdir -p "$work/kustom"
  echo '{resources: [cm.yaml], namePrefix: pre-}' >"$work/kustom/kustomization.yaml"
  printf -- '---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: kustom}}' >"$work/kustom/cm.yaml"
  k apply -k "$work/kustom"
  k get cm pre-kustom
  k delete -k "$work/kustom"
  k create -f "$work/kustom/cm.yaml" --save-config
  k get -f "$work/kustom/cm.yaml" -o name
  k delete -f "$work/kustom/cm.yaml"
}
