# Point 4: a real application: configuration as environment and as files, probes, limits, an init container, a service.

setup() {
  start_cluster
  load_busybox
  k create configmap settings --from-literal=GREETING=hello --from-literal=page='from a file'
  k create secret generic hush --from-literal=PASSWORD=sesame
  k apply -f - <<'Y'
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 3
  selector: {matchLabels: {app: shop}}
  strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      terminationGracePeriodSeconds: 5
      initContainers:
      - name: prepare
        image: kcube.io/busybox:1
        command: [sh, -c, 'echo "$GREETING $PASSWORD $(hostname)" >/www/index.html']
        env:
        - {name: GREETING, valueFrom: {configMapKeyRef: {name: settings, key: GREETING}}}
        - {name: PASSWORD, valueFrom: {secretKeyRef: {name: hush, key: PASSWORD}}}
        volumeMounts: [{name: www, mountPath: /www}]
      containers:
      - name: web
        image: kcube.io/busybox:1
        command: [httpd, -f, -p, "8080", -h, /www]
        envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: hush}}]
        env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}, {name: LIMIT, valueFrom: {resourceFieldRef: {resource: limits.memory}}}]
        ports: [{name: http, containerPort: 8080}]
        resources: {limits: {cpu: 200m, memory: 32Mi}, requests: {cpu: 10m, memory: 8Mi}}
        startupProbe: {exec: {command: [test, -s, /www/index.html]}, periodSeconds: 1}
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
        livenessProbe: {tcpSocket: {port: http}, periodSeconds: 2}
        lifecycle: {preStop: {exec: {command: [sleep, "1"]}}}
        volumeMounts:
        - {name: www, mountPath: /www}
        - {name: settings, mountPath: /etc/settings}
        - {name: hush, mountPath: /etc/hush, readOnly: true}
      volumes:
      - {name: www, emptyDir: {}}
      - {name: settings, configMap: {name: settings}}
      - {name: hush, secret: {secretName: hush, defaultMode: 0400}}
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: shop}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {clusterIP: None, selector: {app: shop}, ports: [{name: http, port: 80, targetPort: http}]}
Y
  k rollout status deployment/shop --timeout=60s
  busybox_pod client 'while true; do sleep 1; done'
  ready pod/client
}

vip() { field svc/shop '{.spec.clusterIP}'; }
from_client() { k exec client -- "$@"; }
shop_pod() { k get pods -l app=shop -o json | jq -r '[.items[] | select(.metadata.deletionTimestamp == null) | "pod/" + .metadata.name][0]'; }

case_pods_run_and_are_ready() {
  same "$(field deployment/shop '{.status.readyReplicas}')" 3
  same "$(k get pods -l app=shop --no-headers | grep -c '1/1 *Running *0')" 3
}

case_config_and_secrets_as_env_and_files() {
  local pod; pod=$(shop_pod)
  has "$(k exec "$pod" -c web -- env)" GREETING=hello
  has "$(k exec "$pod" -c web -- env)" PASSWORD=sesame
  has "$(k exec "$pod" -c web -- env)" NODE=node1
  has "$(k exec "$pod" -c web -- env)" LIMIT=33554432
  has "$(k exec "$pod" -c web -- env)" SHOP_SERVICE_HOST= || true   # only for services older than the pod
  same "$(k exec "$pod" -c web -- cat /etc/settings/page)" "from a file"
  same "$(k exec "$pod" -c web -- cat /etc/hush/PASSWORD)" sesame
  has "$(k exec "$pod" -c web -- ls -lL /etc/hush/PASSWORD)" "-r--------"
  refused "Read-only" k exec "$pod" -c web -- touch /etc/hush/x
}

case_the_init_container_ran_first() {
  same "$(k exec "$(shop_pod)" -c web -- cat /www/index.html | cut -d' ' -f1,2)" "hello sesame"
  same "$(field "$(shop_pod)" '{.status.initContainerStatuses[0].state.terminated.reason}')" Completed
}

case_vip_and_name_answer_from_a_pod() {
  eventually 10 contains "hello sesame" from_client wget -qO- "http://$(vip)/"
  has "$(from_client wget -qO- http://shop/)" "hello sesame"
  has "$(from_client wget -qO- http://shop.default.svc.cluster.local/)" "hello sesame"
  matches "$(from_client nslookup -type=a kubernetes.default.svc.cluster.local)" 'Address: 10\.43\.0\.1($|[^0-9])'
}

case_vip_and_name_answer_from_the_host() {
  has "$(on_host 1 curl -s -m 5 "http://$(vip)/")" "hello sesame"
  same "$(on_host 1 dig +short +time=3 shop.default.svc.cluster.local @10.43.0.10)" "$(vip)"
  same "$(on_host 1 dig +short +tcp +time=3 shop.default.svc.cluster.local @10.43.0.10)" "$(vip)"
}

case_headless_names_and_srv() {
  same "$(on_host 1 dig +short headless.default.svc.cluster.local @10.43.0.10 | sort | tr '\n' ' ')" \
    "$(k get pods -l app=shop -o 'jsonpath={range .items[*]}{.status.podIP}{"\n"}{end}' | sort | tr '\n' ' ')"
  has "$(on_host 1 dig +short SRV _http._tcp.shop.default.svc.cluster.local @10.43.0.10)" "80 shop.default.svc.cluster.local."
  has "$(on_host 1 dig nothing.default.svc.cluster.local @10.43.0.10)" NXDOMAIN
}

case_load_spreads_over_all_three() {
  on_host 1 bash -c "for i in \$(seq 60); do curl -s -m 5 http://$(vip)/; done" >"$work/spread"
  same "$(wc -l <"$work/spread")" 60
  same "$(sort -u "$work/spread" | wc -l)" 3
  from_client sh -c 'for i in $(seq 60); do wget -qO- http://shop/; done' >"$work/spread"
  same "$(sort -u "$work/spread" | wc -l)" 3
}

case_session_affinity() {
  k expose deployment shop --name=sticky --port=80 --target-port=8080 --session-affinity=ClientIP
  local ip; ip=$(field svc/sticky '{.spec.clusterIP}')
  eventually 10 contains hello on_host 1 curl -s -m 5 "http://$ip/"
  on_host 1 bash -c "for i in \$(seq 20); do curl -s -m 5 http://$ip/; done" >"$work/sticky"
  same "$(sort -u "$work/sticky" | wc -l)" 1
  k delete service sticky
}

case_a_rolling_update_drops_no_request() {
  on_host 1 bash -c "while [[ ! -e $work/enough ]]; do curl -s -S -m 5 http://$(vip)/ || echo DROPPED; done" >"$work/requests" 2>&1 &
  local asking=$!
  k set env deployment/shop VERSION=2
  k rollout status deployment/shop --timeout=90s
  k rollout undo deployment/shop
  k rollout status deployment/shop --timeout=90s
  touch "$work/enough"; wait $asking
  (( $(grep -c hello "$work/requests") > 20 ))
  same "$(grep -vc 'hello sesame' "$work/requests" || true)" 0
}

case_a_changed_config_map_reaches_the_files() {
  k patch configmap settings --type=merge -p '{"data":{"page":"changed"}}'
  eventually 90 equals changed k exec "$(shop_pod)" -c web -- cat /etc/settings/page
}

case_a_deleted_pod_is_replaced() {
  local pod; pod=$(shop_pod)
  k delete "$pod" --wait=false
  k rollout status deployment/shop --timeout=60s
  eventually 30 refused NotFound k get "$pod"
  eventually 30 equals 3 field deployment/shop '{.status.readyReplicas}'
}

case_a_pod_not_ready_gets_no_requests() {
  local pod ip; pod=$(shop_pod); ip=$(field "$pod" '{.status.podIP}')
  k exec "$pod" -c web -- mv /www/index.html /www/away
  gone() { [[ " $(k get endpoints shop -o 'jsonpath={.subsets[*].addresses[*].ip}' 2>/dev/null) " != *" $ip "* ]]; }
  eventually 20 gone
  on_host 1 bash -c "for i in \$(seq 30); do curl -s -m 5 http://$(vip)/; done" >"$work/unready"
  same "$(sort -u "$work/unready" | wc -l)" 2
  k exec "$pod" -c web -- mv /www/away /www/index.html
  k rollout status deployment/shop --timeout=30s
  same "$(field "$pod" '{.status.containerStatuses[0].restartCount}')" 0
}

case_a_failed_liveness_probe_restarts() {
  k apply -f - <<'Y'
apiVersion: v1
kind: Pod
metadata: {name: sick}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: kcube.io/busybox:1
    command: [sh, -c, 'touch /tmp/well; sleep 2; rm /tmp/well; sleep 1000']
    livenessProbe: {exec: {command: [cat, /tmp/well]}, periodSeconds: 1, failureThreshold: 1}
Y
  eventually 30 contains Unhealthy k get events --field-selector involvedObject.name=sick
  eventually 30 bash -c "(( \$($(kubectl_line) get pod sick -o 'jsonpath={.status.containerStatuses[0].restartCount}') > 0 ))"
  k delete pod sick --now
}

case_a_command_that_is_not_there_is_tried_again_with_back_off() {
  k run typo --image=kcube.io/busybox:1 --command -- no-such-program
  eventually 30 contains "no-such-program" field pod/typo '{.status.containerStatuses[0].lastState.terminated.message}'
  eventually 30 contains CrashLoopBackOff k get pod typo
  k delete pod typo --now
}

case_events_tell_the_story_in_order() {
  busybox_pod story 'exec sleep 1000'
  ready pod/story
  same "$(k describe pod story | sed -n '/^Events:/,$p' | awk 'NR > 3 {print $2}' | xargs)" "Scheduled Pulled Created Started"
  same "$(field pod/story '{.status.conditions[*].type}')" "PodReadyToStartContainers Initialized Ready ContainersReady PodScheduled"
  has "$(k describe node node1)" "Node node1 status is now: NodeReady"
}

case_what_is_missing_is_named_without_noise() {
  k run envless --image=kcube.io/busybox:1 --overrides='{"spec":{"containers":[{"name":"main","image":"kcube.io/busybox:1","envFrom":[{"configMapRef":{"name":"missing"}}]}]}}'
  k run fileless --image=kcube.io/busybox:1 --overrides='{"spec":{"containers":[{"name":"main","image":"kcube.io/busybox:1"}],"volumes":[{"name":"v","secret":{"secretName":"missing"}}]}}'
  k run imageless --image=127.0.0.1:9/none:1
  eventually 20 contains 'Error: configmap "missing" not found' k describe pod envless
  eventually 20 contains 'MountVolume.SetUp failed for volume "v" : secret "missing" not found' k describe pod fileless
  eventually 20 contains 'Failed to pull image "127.0.0.1:9/none:1": ' k describe pod imageless
  eventually 20 contains 'Error: ErrImagePull' k describe pod imageless
  eventually 20 contains 'imageless: ' kcube status
  sleep 3  # it is tried again meanwhile
  (($(k get events --field-selector involvedObject.name=envless,reason=Failed -o 'jsonpath={.items[0].count}') <= 3))
  k delete pod envless fileless imageless --now
}

case_a_failed_probe_is_told_as_elsewhere() {
  k run deaf --image=kcube.io/busybox:1 --overrides='{"spec":{"containers":[{"name":"main","image":"kcube.io/busybox:1","command":["sleep","1000"],"readinessProbe":{"httpGet":{"port":81},"periodSeconds":1}}]}}'
  eventually 20 matching 'Readiness probe failed: Get "http://[0-9.]*:81/": dial tcp [0-9.]*:81: connect: connection refused' k describe pod deaf
  k delete pod deaf --now
}
matching() { local pattern=$1 got; shift; got=$("$@" 2>&1) || true; grep -qE "$pattern" <<<"$got" || { echo "no /$pattern/ in: $got"; return 1; }; }

case_a_crash_restarts_with_back_off() {
  busybox_pod crash 'echo run; exit 3'
  eventually 60 contains CrashLoopBackOff k get pod crash
  same "$(field pod/crash '{.status.containerStatuses[0].lastState.terminated.exitCode}')" 3
  # The attempt that ended last is the last state, also while the next one waits.
  eventually 20 matching '^(kcube:[^ ]+) \1$' field pod/crash '{.status.containerStatuses[0].lastState.terminated.containerID} {.status.containerStatuses[0].containerID}'
  has "$(k get events --field-selector involvedObject.name=crash)" "Back-off restarting failed container"
  has "$(k logs crash --previous)" run
  k delete pod crash --now
}

case_memory_is_limited() {
  k apply -f - <<'Y'
apiVersion: v1
kind: Pod
metadata: {name: greedy}
spec:
  restartPolicy: Never
  containers:
  - {name: c, image: "kcube.io/busybox:1", command: [sh, -c, 'dd if=/dev/zero of=/dev/null bs=200M count=1'], resources: {limits: {memory: 16Mi}}}
Y
  k wait --for=jsonpath='{.status.phase}'=Failed pod/greedy --timeout=60s
  same "$(field pod/greedy '{.status.containerStatuses[0].state.terminated.reason} {.status.containerStatuses[0].state.terminated.exitCode}')" "OOMKilled 137"
  k delete pod greedy
}

case_cpu_is_limited() {
  local pod; pod=$(shop_pod)
  local seen; seen=$(k exec "$pod" -c web -- sh -c 'cat /sys/fs/cgroup/cpu.max 2>/dev/null || cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us' | tr '\n' ' ')
  matches "$seen" '^20000 100000 ?$'
}

case_udp_and_node_ports() {
  nsenter --net="/run/netns/kcl-$lab_name-1" -- python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("10.99.0.1", 9000))
while True:
    data, who = s.recvfrom(999); s.sendto(data[::-1], who)' &
  local server=$!
  k apply -f - <<'Y'
apiVersion: v1
kind: Service
metadata: {name: udp}
spec: {type: NodePort, ports: [{port: 53, targetPort: 9000, protocol: UDP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: udp-1, labels: {kubernetes.io/service-name: udp}}
addressType: IPv4
ports: [{port: 9000, protocol: UDP}]
endpoints: [{addresses: [10.99.0.1], conditions: {ready: true}}]
Y
  ask() { on_host 1 python3 -c 'import socket,sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1); s.connect((sys.argv[1], int(sys.argv[2]))); s.send(b"abc"); print(s.recv(99).decode())' "$1" "$2"; }
  eventually 20 equals cba ask "$(field svc/udp '{.spec.clusterIP}')" 53
  eventually 20 equals cba ask 10.99.0.1 "$(field svc/udp '{.spec.ports[0].nodePort}')"
  kill $server
  k delete svc/udp endpointslice/udp-1
}

case_a_stateful_set_keeps_its_data() {
  k apply -f - <<'Y'
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: c, image: "kcube.io/busybox:1", command: [sh, -c, 'date +%N >>/data/starts; while true; do sleep 1; done'], volumeMounts: [{name: data, mountPath: /data}]}]
  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}}]
Y
  k rollout status statefulset/db --timeout=60s
  k delete pod db-0
  k rollout status statefulset/db --timeout=60s
  eventually 30 equals 2 k exec db-0 -- sh -c 'wc -l </data/starts'
  eventually 10 contains "$(field pod/db-1 '{.status.podIP}')" from_client nslookup db-1.db.default.svc.cluster.local
  k delete statefulset/db service/db
  k delete pvc --all --timeout=60s
}

case_jobs_and_daemon_sets() {
  k create job parallel --image=kcube.io/busybox:1 --dry-run=client -o json -- true | jq '.spec += {completions: 4, parallelism: 2}' | k apply -f -
  k wait --for=condition=complete job/parallel --timeout=60s
  same "$(field job/parallel '{.status.succeeded}')" 4
  k apply -f - <<<$'---\n{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: every}, spec: {selector: {matchLabels: {a: every}}, template: {metadata: {labels: {a: every}}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: "kcube.io/demo:1"}]}}}}'
  k rollout status daemonset/every --timeout=60s
  k delete job/parallel daemonset/every
}

memory_limit() { k exec "$1" -- sh -c "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes"; }

# Resources of a running pod change without a restart; what no node like this has is refused, what others have of it is waited for.
case_resize_in_place() {
  k apply -f - <<'Y'
apiVersion: v1
kind: Pod
metadata: {name: grows}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: kcube.io/busybox:1
    command: [sleep, "1000"]
    resources: {limits: {cpu: 100m, memory: 32Mi}, requests: {cpu: 50m, memory: 16Mi}}
Y
  ready pod/grows
  same "$(memory_limit grows)" $((32 << 20))
  k patch pod grows --subresource resize -p '{"spec":{"containers":[{"name":"main","resources":{"limits":{"memory":"48Mi"},"requests":{"cpu":"60m"}}}]}}'
  eventually 10 equals "48Mi 60m 0" field pod/grows '{.status.containerStatuses[0].resources.limits.memory} {.status.containerStatuses[0].allocatedResources.cpu} {.status.containerStatuses[0].restartCount}'
  same "$(memory_limit grows)" $((48 << 20))
  refused "node didn't have enough allocatable resources: cpu, requested: 900000, allocatable: " \
    k patch pod grows --subresource resize -p '{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"900"},"limits":{"cpu":"900"}}}]}}'
  k run fills --image=kcube.io/busybox:1 --overrides='{"spec":{"terminationGracePeriodSeconds":0,"containers":[{"name":"fills","image":"kcube.io/busybox:1","command":["sleep","1000"],"resources":{"requests":{"cpu":"50m"}}}]}}'
  ready pod/fills
  local all; all=$(field node '{.status.allocatable.cpu}' "$(field pod '{.spec.nodeName}' grows)")
  k patch pod grows --subresource resize -p '{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"'"$all"'"},"limits":{"cpu":"'"$all"'"}}}]}}'
  eventually 10 equals "Deferred 60m" field pod/grows '{.status.conditions[?(@.type=="PodResizePending")].reason} {.status.containerStatuses[0].allocatedResources.cpu}'
  k patch pod grows --subresource resize -p '{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"60m"},"limits":{"cpu":"100m"}}}]}}'
  eventually 10 equals "" field pod/grows '{.status.conditions[?(@.type=="PodResizePending")].reason}'
  k delete pod grows fills
}

# An image as a volume, also with the policy that would ask a registry: it was loaded by hand.
case_image_volume() {
  k apply -f - <<'Y'
apiVersion: v1
kind: Pod
metadata: {name: reads-image}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: kcube.io/busybox:1
    imagePullPolicy: Always
    command: [sleep, "1000"]
    volumeMounts: [{name: other, mountPath: /other}]
  volumes: [{name: other, image: {reference: "kcube.io/busybox:1", pullPolicy: Always}}]
Y
  ready pod/reads-image
  k exec reads-image -- test -x /other/bin/busybox
  refused "Read-only file system" k exec reads-image -- touch /other/x
  k delete pod reads-image
}
