# Helpers of the topics about identity that comes from outside: the server of identity_server.py and tokens that it signs.

make_outside_keys() {
  mkdir -p "$work/etc"
  openssl genrsa -out "$work/etc/oidc.key" 2048
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/etc/tls.key" -out "$work/etc/tls.crt" -days 30 -subj /CN=outside -addext 'subjectAltName=IP:10.99.0.1'
}
start_outside() {
  nsenter --net="/run/netns/kcl-$lab_name-1" -- python3 "$root/tests/e2e/identity_server.py" 7444 "$work/etc/tls.crt" "$work/etc/tls.key" "$work/etc/oidc.key" "$work" >"$work/server.out" 2>&1 &
  echo $! > "$work/server.pid"
  eventually 10 on_host 1 curl -skf https://10.99.0.1:7444/keys
}
stop_outside() { [[ -e $work/server.pid ]] && kill "$(cat "$work/server.pid")"; }

webhook_kubeconfig() {
  cat <<Y
apiVersion: v1
kind: Config
clusters: [{name: hook, cluster: {server: "https://10.99.0.1:7444/$1", certificate-authority: $work/etc/tls.crt}}]
users: [{name: api, user: {token: from-the-api-server}}]
contexts: [{name: c, context: {cluster: hook, user: api}}]
current-context: c
Y
}

url64() { base64 -w0 | tr '+/' '-_' | tr -d =; }
# make_token CLAIMS...: more or other claims as jq takes them, signed by the issuer's key.
make_token() {
  local head body
  head=$(printf '{"alg":"RS256","kid":"k1"}' | url64)
  body=$(jq -cn --argjson now "$(date +%s)" '{iss:"https://10.99.0.1:7444",aud:"kcube",exp:($now+600),iat:$now,name:"carol",teams:["blue","red"],level:"high"} * '"${1:-{\}}" | tr -d '\n' | url64)
  echo "$head.$body.$(printf '%s.%s' "$head" "$body" | openssl dgst -sha256 -sign "${2:-$work/etc/oidc.key}" | url64)"
}

api() { on_host 1 curl -sk "$@"; }
server_url() { k config view -o 'jsonpath={.clusters[0].cluster.server}'; }
as_token() { local token=$1 path=$2; shift 2; api -H "Authorization: Bearer $token" "$@" "$(server_url)$path"; }
code_of() { as_token "$1" "$2" -o /dev/null -w '%{http_code}'; }
whoami() { as_token "$1" /apis/authentication.k8s.io/v1/selfsubjectreviews -H 'Content-Type: application/json' -d '{}'; }
