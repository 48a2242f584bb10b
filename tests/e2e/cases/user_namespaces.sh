# Pods with `hostUsers: false`: users of their own, volumes that they own, and nothing left when they are gone.

setup() {
  start_cluster
  load_busybox
  k create configmap settings --from-literal=colour=green
}

# A pod with a user namespace, a fsGroup, an emptyDir on disk and one in memory, and a config map.
isolated_pod() {
  k apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  hostUsers: false
  terminationGracePeriodSeconds: 0
  securityContext: {fsGroup: 2000}
  containers:
  - name: main
    image: kcube.io/busybox:1
    command: [sh, -c, "echo written > /data/file; echo fast > /memory/file; exec sleep 4711"]
    volumeMounts:
    - {name: data, mountPath: /data}
    - {name: memory, mountPath: /memory}
    - {name: settings, mountPath: /etc/settings}
  volumes:
  - {name: data, emptyDir: {}}
  - {name: memory, emptyDir: {medium: Memory}}
  - {name: settings, configMap: {name: settings}}
Y
  ready "pod/$1"
}
inside() { local name=$1; shift; k exec "$name" -- sh -c "$*"; }
range() { inside "$1" cat /proc/self/uid_map | awk '{print $2}'; }
uid() { field "pod/$1" '{.metadata.uid}'; }
# The process of pod $1 that runs sleep, as the host sees it.
sleeper() {
  local pid id; id=$(uid "$1")
  for pid in $(pgrep -f '^sleep 4711'); do [[ $(cat "/proc/$pid/cgroup" 2>/dev/null) != *"$id"* ]] || echo "$pid"; done
}

case_the_node_says_that_it_can() {
  same "$(field node/node1 '{.status.runtimeHandlers[0].features.userNamespaces}{.status.features.supplementalGroupsPolicy}')" truetrue
}

case_root_inside_is_nobody_outside() {
  isolated_pod one
  same "$(inside one id -u)" 0
  same "$(inside one cat /proc/self/uid_map | xargs)" "0 65536 65536"
  same "$(stat -c %u "/proc/$(sleeper one)")" 65536
}

case_volumes_belong_to_the_pod() {
  same "$(inside one 'stat -c %u:%g /data/file /memory/file; cat /data/file /memory/file /etc/settings/colour')" $'0:2000\n0:2000\nwritten\nfast\ngreen'
  same "$(inside one 'stat -L -c %u:%g:%a /etc/settings/colour')" 0:2000:644
  has "$(inside one cat /var/run/secrets/kubernetes.io/serviceaccount/namespace)" default
  k create configmap settings --from-literal=colour=blue --dry-run=client -o yaml | k apply -f -
  eventually 30 equals blue inside one cat /etc/settings/colour
}

case_each_pod_has_users_of_its_own() {
  isolated_pod two
  same "$(range two)" 131072
}

case_the_users_stay_when_kcube_is_killed() {
  local pid; pid=$(sleeper two)
  kill -9 "$(server_pid)"
  lab up
  same "$(sleeper two)" "$pid"
  eventually 20 equals 131072 range two
  isolated_pod three
  same "$(range three)" 196608
}

case_nothing_of_it_is_left() {
  local id; id=$(uid one)
  k delete pod one --wait
  eventually 10 test ! -e "$state/node1/agent/pods/$id"
  hasnt "$(cat /proc/mounts)" "$id"
  isolated_pod again
  same "$(range again)" 65536
}

case_what_does_not_go_together_is_refused() {
  local field
  for field in hostNetwork hostPID hostIPC; do
    refused 'Forbidden: when `hostUsers` is false' k run no --image=kcube.io/busybox:1 --overrides="{\"spec\":{\"hostUsers\":false,\"$field\":true}}"
  done
}

case_what_cannot_be_mapped_is_said() {
  k run odd --image=kcube.io/busybox:1 --overrides='{"spec":{"hostUsers":false,"containers":[{"name":"odd","image":"kcube.io/busybox:1","volumeMounts":[{"name":"v","mountPath":"/v"}]}],"volumes":[{"name":"v","hostPath":{"path":"/proc/sys"}}]}}'
  eventually 20 contains "cannot map ids" k describe pod odd
  k delete pod odd --now
}
