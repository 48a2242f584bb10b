# What is wrong gets a clear answer, the real API server's where it has one, and nothing else is disturbed.

setup() {
  start_cluster
  load_busybox
  local c=$state/node1/server/tls
  cp "$c/ca.crt" "$c/admin.crt" "$c/admin.key" "$work/"
}
url=https://10.99.0.1:6443
# request METHOD PATH [curl arguments]: the body, then a line with the status code.
request() { local m=$1 p=$2; shift 2; on_host 1 curl -s -m 30 --cacert "$work/ca.crt" -X "$m" -w '\n%{http_code}' "$@" "$url$p"; }
admin() { local m=$1 p=$2; shift 2; request "$m" "$p" --cert "$work/admin.crt" --key "$work/admin.key" "$@"; }
# answers CODE REASON OUTPUT
answers() { same "$(tail -1 <<<"$3")" "$1"; same "$(sed '$d' <<<"$3" | jq -r '.kind + " " + .reason')" "Status $2"; }
message() { sed '$d' <<<"$1" | jq -r .message; }
still_well() { same "$(k get --raw /readyz)" ok; k get nodes | grep -q ' Ready '; }
configmaps=/api/v1/namespaces/default/configmaps

case_malformed_bodies() {
  local out
  out=$(admin POST $configmaps -H 'Content-Type: application/json' -d '{"kind": "ConfigMap", ')
  answers 400 BadRequest "$out"
  out=$(admin POST $configmaps -H 'Content-Type: application/yaml' --data-binary $'kind: [unclosed')
  answers 400 BadRequest "$out"
  out=$(admin POST $configmaps -H 'Content-Type: application/json' -d '[1, 2]')
  answers 400 BadRequest "$out"
  out=$(admin POST $configmaps -H 'Content-Type: application/json' -d '')
  answers 400 BadRequest "$out"
  out=$(admin POST $configmaps -H 'Content-Type: text/plain' -d 'hello')
  answers 415 UnsupportedMediaType "$out"
  out=$(admin POST $configmaps -H 'Content-Type: application/vnd.kubernetes.protobuf' --data-binary 'k8s?garbage')
  answers 400 BadRequest "$out"
  out=$(admin POST $configmaps -H 'Content-Type: application/json' -d "$(printf '%0.s[' $(seq 20000))")
  answers 400 BadRequest "$out"
  printf 'apiVersion: v1\nkind: ConfigMap\n metadata: bad\n' >"$work/bad.yaml"
  refused "error" k apply -f "$work/bad.yaml"
  still_well
}

# Accepted, and yet probably a mistake: kubectl shows what the server says of it.
case_warnings() {
  local said
  said=$(k run twice --image=x --dry-run=server --overrides='{"spec":{"containers":[{"name":"c","image":"x",
    "env":[{"name":"A","value":"1"},{"name":"A","value":"2"}],"ports":[{"containerPort":80},{"containerPort":80}]}]}}' 2>&1)
  has "$said" 'Warning: spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply'
  has "$said" 'Warning: spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]'
  has "$said" 'pod/twice created'
}

case_unknown_and_duplicate_fields() {
  printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: c, image: i, imagee: j}], nodeNam: x}\n' >"$work/unknown.yaml"
  refused 'unknown field "spec.containers[0].imagee"' k create --validate=strict -f "$work/unknown.yaml"
  has "$(k create --validate=warn --dry-run=server -f "$work/unknown.yaml" 2>&1)" 'Warning: unknown field "spec.nodeNam"'
  hasnt "$(k create --validate=ignore --dry-run=server -f "$work/unknown.yaml" 2>&1)" Warning
  local out; out=$(admin POST "$configmaps?fieldValidation=Strict" -H 'Content-Type: application/json' -d '{"metadata":{"name":"d"},"data":{"a":"1"},"data":{"a":"2"}}')
  answers 400 BadRequest "$out"; has "$(message "$out")" 'duplicate field "data"'
  out=$(admin POST "$configmaps?fieldValidation=Sometimes" -H 'Content-Type: application/json' -d '{"metadata":{"name":"d"}}')
  same "$(tail -1 <<<"$out")" 422
}

case_wrong_types_and_values() {
  local out
  out=$(admin POST $configmaps -H 'Content-Type: application/json' -d '{"metadata":{"name":"d"},"data":{"a":1}}')
  answers 400 BadRequest "$out"; has "$(message "$out")" "cannot unmarshal number into Go"
  out=$(admin POST $configmaps -H 'Content-Type: application/json' -d '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"d"}}')
  answers 400 BadRequest "$out"
  out=$(admin POST /apis/apps/v1/namespaces/default/deployments -H 'Content-Type: application/json' -d '{"metadata":{"name":"d"},"spec":{"replicas":-1,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"c"}},"spec":{"containers":[]}}}}')
  answers 422 Invalid "$out"
  has "$(message "$out")" "spec.replicas"; has "$(message "$out")" "spec.template.spec.containers"; has "$(message "$out")" "spec.template.metadata.labels"
  same "$(sed '$d' <<<"$out" | jq '.details.causes | length > 2')" true
  out=$(admin POST /api/v1/namespaces/default/pods -H 'Content-Type: application/json' -d '{"metadata":{"name":"x"},"spec":{"containers":[{"name":"x"}]}}')
  answers 422 Invalid "$out"; has "$(message "$out")" "spec.containers[0].image: Required value"
}

case_names_against_the_rules() {
  local name out; for name in 'Upper' 'a_b' '-a' 'a..b' "$(printf 'a%.0s' $(seq 254))"; do
    out=$(admin POST $configmaps -H 'Content-Type: application/json' -d "{\"metadata\":{\"name\":\"$name\"}}")
    answers 422 Invalid "$out"; has "$(message "$out")" metadata.name
  done
  out=$(admin POST $configmaps -H 'Content-Type: application/json' -d '{"metadata":{}}')
  answers 422 Invalid "$out"; has "$(message "$out")" "name or generateName is required"
  out=$(admin POST /api/v1/namespaces/nowhere/configmaps -H 'Content-Type: application/json' -d '{"metadata":{"name":"a"}}')
  answers 404 NotFound "$out"; has "$(message "$out")" 'namespaces "nowhere" not found'
  out=$(admin POST $configmaps -H 'Content-Type: application/json' -d '{"metadata":{"name":"a","namespace":"other"}}')
  answers 400 BadRequest "$out"
  refused 'a lowercase RFC 1123 subdomain' k create configmap Upper
}

case_bodies_that_are_too_large() {
  head -c 3500000 /dev/zero | tr '\0' x | jq -Rs '{metadata: {name: "big"}, data: {a: .}}' >"$work/big.json"
  local out; out=$(admin POST $configmaps -H 'Content-Type: application/json' -H 'Expect:' --data-binary "@$work/big.json")
  answers 413 RequestEntityTooLarge "$out"
  out=$(admin POST $configmaps -H 'Content-Type: application/json' -H 'Expect:' -H 'Transfer-Encoding: chunked' --data-binary "@$work/big.json")
  answers 413 RequestEntityTooLarge "$out"
  head -c 1100000 /dev/zero | tr '\0' x | jq -Rs '{metadata: {name: "big"}, data: {a: .}}' >"$work/big.json"
  out=$(admin POST $configmaps -H 'Content-Type: application/json' --data-binary "@$work/big.json")
  answers 422 Invalid "$out"; has "$(message "$out")" "1048576"
  still_well
}

case_what_is_not_there_and_what_is_not_allowed() {
  answers 404 NotFound "$(admin GET $configmaps/none)"
  same "$(admin GET /apis/none/v1/things | tail -1)" 404
  answers 405 MethodNotAllowed "$(admin POST /api/v1/namespaces/default/configmaps/x -d '{}' -H 'Content-Type: application/json')"
  answers 406 NotAcceptable "$(admin GET $configmaps -H 'Accept: image/png')"
  answers 400 BadRequest "$(admin GET "$configmaps?labelSelector=a=b=c,,")"
  answers 400 BadRequest "$(admin GET "$configmaps?fieldSelector=spec.none=1")"
  answers 400 BadRequest "$(admin GET "$configmaps?limit=1&continue=nonsense")"
  answers 409 AlreadyExists "$(admin POST /api/v1/namespaces -H 'Content-Type: application/json' -d '{"metadata":{"name":"default"}}')"
  answers 403 Forbidden "$(admin DELETE /api/v1/namespaces/default)"
  answers 415 UnsupportedMediaType "$(admin PATCH $configmaps/kube-root-ca.crt -H 'Content-Type: application/json' -d '{}')"
}

case_wrong_tokens_and_certificates() {
  answers 401 Unauthorized "$(request GET /api/v1/nodes -H 'Authorization: Bearer nonsense')"
  answers 401 Unauthorized "$(request GET /api/v1/nodes -H 'Authorization: Bearer a.b.c')"
  answers 401 Unauthorized "$(request GET /api/v1/nodes -H 'Authorization: Bearer abcdef.0123456789abcdef')"
  answers 403 Forbidden "$(request GET /api/v1/nodes)"   # nobody in particular is system:anonymous
  same "$(request GET /readyz | tail -1)" 200
  # A good token whose signature was touched.
  k create serviceaccount signer
  local token; token=$(k create token signer)
  answers 403 Forbidden "$(request GET /api/v1/nodes -H "Authorization: Bearer $token")"
  answers 401 Unauthorized "$(request GET /api/v1/nodes -H "Authorization: Bearer ${token%???}abc")"
  # A token bound to an account that is gone.
  k delete serviceaccount signer
  eventually 15 contains '"code":401' request GET /api/v1/nodes -H "Authorization: Bearer $token"
  # A certificate that has expired, and one of another authority.
  openssl ecparam -name prime256v1 -genkey -noout -out "$work/x.key"
  openssl req -new -key "$work/x.key" -subj /O=system:masters/CN=late -out "$work/x.csr"
  openssl x509 -req -in "$work/x.csr" -CA "$work/ca.crt" -CAkey "$state/node1/server/tls/ca.key" -days -1 -out "$work/expired.crt"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$work/other.key" -subj /O=system:masters/CN=other -days 5 -out "$work/other.crt"
  local code
  for c in expired:x other:other; do
    code=$(request GET /api/v1/nodes --cert "$work/${c%:*}.crt" --key "$work/${c#*:}.key" | tail -1)
    [[ $code == 401 || $code == 000 ]] || complain "certificate $c was answered $code"
  done
  refused "certificate signed by unknown authority" k --kubeconfig /dev/null --server "$url" --token x --certificate-authority "$work/other.crt" get nodes
  still_well
}

case_half_open_and_slow_connections() {
  # Three hundred that say nothing, and fifty that say a byte a second, while the others are served.
  on_host 1 python3 - <<'P' &
import socket, ssl, time
quiet, slow = [], []
for i in range(300):
    quiet.append(socket.create_connection(("10.99.0.1", 6443)))
context = ssl._create_unverified_context()
for i in range(50):
    slow.append(context.wrap_socket(socket.create_connection(("10.99.0.1", 6443))))
end = time.time() + 8
for c in "GET /readyz HTTP/1.1\r\nHost: x\r\n":
    for s in slow:
        try: s.send(c.encode())
        except OSError: pass
    if time.time() > end: break
    time.sleep(0.5)
P
  local attacker=$!
  sleep 1.5
  local i; for i in 1 2 3 4 5; do still_well; done
  k create configmap meanwhile; k delete configmap meanwhile
  # A request cut off in the middle of its body.
  on_host 1 timeout 1 curl -s --cacert "$work/ca.crt" --cert "$work/admin.crt" --key "$work/admin.key" -H 'Content-Type: application/json' -H 'Content-Length: 100000' -d '{"metadata"' "$url$configmaps" || true
  still_well
  wait $attacker
  still_well
}

case_requests_that_are_not_http() {
  printf '\x16\x03\x01\x02\x00garbage' | on_host 1 timeout 3 busybox nc 10.99.0.1 6443 >/dev/null || true
  head -c 100000 /dev/urandom | on_host 1 timeout 3 busybox nc 10.99.0.1 6443 >/dev/null || true
  has "$(printf 'GET / HTTP/1.1\r\nHost: x\r\n\r\n' | on_host 1 timeout 5 busybox nc 10.99.0.1 6443)" "400"
  printf 'BROKEN\r\n\r\n' | on_host 1 timeout 5 openssl s_client -quiet -connect 10.99.0.1:6443 2>/dev/null >"$work/broken" || true
  answers 404 NotFound "$(admin POST /api/v1/namespaces/default/pods/x/exec)"
  still_well
}

# image_with_layer NAME FILE.tar: an OCI archive with that one layer.
image_archive() {
  local tree=$work/oci-$1; mkdir -p "$tree/blobs/sha256"
  blob() { local d; d=$(sha256sum <"$1" | cut -d' ' -f1); cp "$1" "$tree/blobs/sha256/$d"; echo "$d"; }
  local layer; layer=$(blob "$2")
  jq -n --arg l "sha256:$layer" '{architecture: "amd64", os: "linux", config: {Cmd: ["/x"]}, rootfs: {type: "layers", diff_ids: [$l]}}' >"$work/config.json"
  local config; config=$(blob "$work/config.json")
  jq -n --arg c "sha256:$config" --arg l "sha256:$layer" --argjson cs "$(stat -c %s "$work/config.json")" --argjson ls "$(stat -c %s "$2")" '{schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json", config: {mediaType: "application/vnd.oci.image.config.v1+json", digest: $c, size: $cs}, layers: [{mediaType: "application/vnd.oci.image.layer.v1.tar", digest: $l, size: $ls}]}' >"$work/manifest.json"
  local manifest; manifest=$(blob "$work/manifest.json")
  jq -n --arg m "sha256:$manifest" --argjson s "$(stat -c %s "$work/manifest.json")" --arg n "kcube.io/$1:1" '{schemaVersion: 2, manifests: [{mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $m, size: $s, annotations: {"org.opencontainers.image.ref.name": $n, "io.containerd.image.name": $n}}]}' >"$tree/index.json"
  echo '{"imageLayoutVersion":"1.0.0"}' >"$tree/oci-layout"
  [[ -z ${3:-} ]] || "$3" "$tree" "$layer"
  tar -C "$tree" -cf "$work/$1.tar" .
}
spoil() { echo spoiled >>"$1/blobs/sha256/$2"; }

case_images_with_bad_digests() {
  mkdir -p "$work/tree"; echo x >"$work/tree/x"; tar -C "$work/tree" -cf "$work/layer.tar" x
  image_archive good "$work/layer.tar"
  kcube image load "$work/good.tar"
  image_archive spoiled "$work/layer.tar" spoil
  refused "kcube:" kcube image load "$work/spoiled.tar"
  head -c 3000 "$work/good.tar" >"$work/short.tar"
  refused "kcube:" kcube image load "$work/short.tar"
  echo nonsense >"$work/nonsense.tar"
  refused "kcube:" kcube image load "$work/nonsense.tar"
  refused "kcube:" kcube image load "$work/none.tar"
  hasnt "$(kcube image ls)" spoiled
}

case_images_whose_paths_climb_out() {
  rm -f /tmp/e2e-climbed-$run_id
  python3 - "$work/climb.tar" "$run_id" <<'P'
import io, sys, tarfile
out, run = sys.argv[1:]
with tarfile.open(out, "w") as t:
    def add(name, kind=tarfile.REGTYPE, link=""):
        i = tarfile.TarInfo(name); i.type = kind; i.linkname = link
        data = b"climbed"
        i.size = len(data) if kind == tarfile.REGTYPE else 0
        t.addfile(i, io.BytesIO(data) if kind == tarfile.REGTYPE else None)
    add("../" * 12 + f"tmp/e2e-climbed-{run}")
    add("out", tarfile.SYMTYPE, "/tmp")
    add(f"out/e2e-climbed-{run}")
    add("up", tarfile.SYMTYPE, "../../../../../../../../tmp")
    add(f"up/e2e-climbed-{run}")
    add(f"/tmp/e2e-climbed-{run}")
    add("hard", tarfile.LNKTYPE, "/etc/shadow")
P
  image_archive climb "$work/climb.tar"
  kcube image load "$work/climb.tar" || true
  [[ ! -e /tmp/e2e-climbed-$run_id ]] || { rm -f "/tmp/e2e-climbed-$run_id"; complain "the image wrote outside its root"; }
  still_well
}

case_images_that_cannot_be_had() {
  k run absent --image=10.99.0.9:5000/none:1
  eventually 60 contains "ErrImagePull" bash -c "$(kubectl_line) get events --field-selector involvedObject.name=absent; $(kubectl_line) get pod absent"
  k run never --image=kcube.io/absent:1 --image-pull-policy=Never
  eventually 30 contains ErrImageNeverPull k get pod never
  k apply -f - <<<$'---\n{apiVersion: v1, kind: Pod, metadata: {name: odd}, spec: {containers: [{name: c, image: "kcube.io/BAD"}]}}'
  eventually 30 contains InvalidImageName k get pod odd
  k run nocommand --image=kcube.io/busybox:1 --command -- /does/not/exist
  eventually 30 contains "not" k get pod nocommand -o 'jsonpath={.status.containerStatuses[0].state.waiting.message}{.status.containerStatuses[0].lastState.terminated.message}'
  k create deployment noconfig --image=kcube.io/demo:1
  k set env deployment/noconfig --from=configmap/absent 2>/dev/null || k patch deployment noconfig -p '{"spec":{"template":{"spec":{"containers":[{"name":"demo","envFrom":[{"configMapRef":{"name":"absent"}}]}]}}}}'
  eventually 30 contains CreateContainerConfigError k get pods -l app=noconfig
  k delete pod absent never odd nocommand --now
  k delete deployment noconfig
}

case_a_full_disk() {
  mkdir -p "$work/full"
  mount -t tmpfs -o size=24m tmpfs "$work/full"
  on_host 1 "$kcube" --name full --data-dir "$work/full" up --keep-context --disable-agent --https-listen-port 7443 >/dev/null
  f() { on_host 1 "$KUBECTL" --kubeconfig "$work/full/server/kubeconfig.yaml" "$@"; }
  f create configmap before --from-literal=a=b
  head -c 700000 /dev/zero | tr '\0' x >"$work/blob"
  local i; for i in $(seq 60); do f create configmap "fill-$i" --from-file="$work/blob" >>"$work/fill.out" 2>&1 || break; done
  has "$(tail -1 "$work/fill.out")" "rror"
  # What was acknowledged can be read, and room made helps.
  same "$(f get configmap before -o 'jsonpath={.data.a}')" b
  mount -o remount,size=96m "$work/full"
  eventually 20 f create configmap after
  on_host 1 "$kcube" --name full --data-dir "$work/full" down --grace 0
  umount "$work/full"
}
