#!/usr/bin/env python3
"""What programs do with the Python client: typed and dynamic objects, watches, patches, exec, logs, port-forward, events.
Prints a line a case; exits with 1 when one fails."""
import json
import logging
import sys
import threading
import time
import traceback
import warnings

from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.rest import ApiException
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.configmaplock import ConfigMapLock
from kubernetes.stream import portforward, stream

NAMESPACE = "python"
IMAGE = "kcube.io/busybox:1"
logged = []


class Kept(logging.Handler):
    def emit(self, record):
        logged.append(record.getMessage())


def expect(what, got, want):
    assert got == want, f"{what}: got {got!r}, want {want!r}"


def eventually(holds, seconds=30):
    end = time.time() + seconds
    while True:
        try:
            return holds()
        except (AssertionError, ApiException):
            if time.time() > end:
                raise
        time.sleep(0.05)


def refused(code, reason, call):
    try:
        call()
    except ApiException as e:
        body = json.loads(e.body)
        expect("code and reason", (e.status, body["reason"]), (code, reason))
        return body
    raise AssertionError(f"not refused with {code}")


def pod(name, *command, **spec):
    return client.V1Pod(
        metadata=client.V1ObjectMeta(name=name, labels={"app": name}),
        spec=client.V1PodSpec(termination_grace_period_seconds=0, containers=[client.V1Container(name="main", image=IMAGE, command=list(command))], **spec))


def running(core, name):
    def is_running():
        found = core.read_namespaced_pod(name, NAMESPACE)
        expect("phase", found.status.phase, "Running")
        assert all(c.ready for c in found.status.container_statuses)
        return found
    return eventually(is_running)


def case_versions(core):
    assert client.VersionApi().get_code().git_version.startswith("v1.36")
    assert "apps" in [g.name for g in client.ApisApi().get_api_versions().groups]
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))
    eventually(lambda: core.read_namespaced_service_account("default", NAMESPACE))


def case_typed_objects(core):
    made = core.create_namespaced_config_map(NAMESPACE, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="a", labels={"x": "1"}), data={"k": "v"}))
    assert made.metadata.creation_timestamp.tzinfo is not None
    core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "b"}, "data": {"k": "w"}})
    made.data["k"] = "changed"
    expect("replaced", core.replace_namespaced_config_map("a", NAMESPACE, made).data, {"k": "changed"})
    body = refused(409, "Conflict", lambda: core.replace_namespaced_config_map("a", NAMESPACE, made))
    assert "the object has been modified" in body["message"]
    refused(404, "NotFound", lambda: core.read_namespaced_config_map("none", NAMESPACE))
    refused(409, "AlreadyExists", lambda: core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "a"}}))
    body = refused(422, "Invalid", lambda: core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "Wrong"}}))
    expect("field", body["details"]["causes"][0]["field"], "metadata.name")
    expect("by label", [m.metadata.name for m in core.list_namespaced_config_map(NAMESPACE, label_selector="x=1").items], ["a"])
    expect("by field", [m.metadata.name for m in core.list_namespaced_config_map(NAMESPACE, field_selector="metadata.name=b").items], ["b"])


def case_pages(core):
    names, token = [], None
    while True:
        page = core.list_cluster_role(limit=20, _continue=token) if hasattr(core, "list_cluster_role") else client.RbacAuthorizationV1Api().list_cluster_role(limit=20, _continue=token)
        names += [r.metadata.name for r in page.items]
        token = page.metadata._continue
        if not token:
            break
    expect("in pages", len(names), len(client.RbacAuthorizationV1Api().list_cluster_role().items))
    expect("in order", names, sorted(names))


def case_patches(core):
    expect("strategic merge", core.patch_namespaced_config_map("b", NAMESPACE, {"data": {"new": "1", "k": None}}).data, {"new": "1"})
    expect("JSON patch", core.patch_namespaced_config_map("b", NAMESPACE, [{"op": "replace", "path": "/data/new", "value": "2"}]).data, {"new": "2"})
    apps = client.AppsV1Api()
    container = {"name": "main", "image": IMAGE, "command": ["sleep", "1000"]}
    apps.create_namespaced_deployment(NAMESPACE, {"metadata": {"name": "d"}, "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "d"}},
                                                  "template": {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [container]}}}})
    body = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": IMAGE}]}}}}
    patched = apps.patch_namespaced_deployment("d", NAMESPACE, body)
    expect("containers", sorted(c.name for c in patched.spec.template.spec.containers), ["main", "side"])
    expect("scale", apps.patch_namespaced_deployment_scale("d", NAMESPACE, {"spec": {"replicas": 1}}).spec.replicas, 1)
    apps.delete_namespaced_deployment("d", NAMESPACE, propagation_policy="Foreground")


def case_watch(core):
    revision = core.list_namespaced_secret(NAMESPACE).metadata.resource_version
    seen = []

    def change():
        for i in range(5):
            core.create_namespaced_secret(NAMESPACE, client.V1Secret(metadata=client.V1ObjectMeta(name=f"s{i}"), string_data={"i": str(i)}))
        core.delete_namespaced_secret("s0", NAMESPACE)
    threading.Thread(target=change).start()
    w = watch.Watch()
    for event in w.stream(core.list_namespaced_secret, NAMESPACE, resource_version=revision, timeout_seconds=20):
        seen.append((event["type"], event["object"].metadata.name))
        if event["type"] == "DELETED":
            w.stop()
    expect("events", seen, [("ADDED", f"s{i}") for i in range(5)] + [("DELETED", "s0")])
    start = time.time()
    expect("until its time is over", [e["type"] for e in watch.Watch().stream(core.list_namespaced_secret, NAMESPACE, resource_version="0", timeout_seconds=1)], ["ADDED"] * 4)
    assert 0.8 < time.time() - start < 5


def case_pod(core):
    core.create_namespaced_pod(NAMESPACE, pod("p", "sh", "-c", "echo started; while sleep 0.2; do echo tick; done", node_selector={"kubernetes.io/os": "linux"}))
    found = running(core, "p")
    assert found.status.pod_ip and found.spec.node_name
    assert "started" in core.read_namespaced_pod_log("p", NAMESPACE)
    lines = []
    w = watch.Watch()
    for line in w.stream(core.read_namespaced_pod_log, "p", NAMESPACE, tail_lines=1):
        lines.append(line)
        if len(lines) == 4:
            w.stop()
    expect("followed log", lines[1:], ["tick"] * 3)


def case_exec(core):
    run = lambda *command, **more: stream(core.connect_get_namespaced_pod_exec, "p", NAMESPACE, command=list(command), stdout=True, stderr=True, **{"stdin": False, "tty": False, **more})
    expect("output", run("sh", "-c", "echo out; echo err >&2").replace("err\n", ""), "out\n")
    session = run("sh", stdin=True, _preload_content=False)
    session.write_stdin("echo first\nread answer; echo \"got $answer\" >&2\nexit 7\n")
    expect("a line", session.readline_stdout(timeout=5), "first")
    session.write_stdin("word\n")
    expect("of standard error", session.readline_stderr(timeout=5), "got word")
    session.run_forever(timeout=10)
    expect("exit code", session.returncode, 7)
    big = run("sh", "-c", "yes 0123456789 | head -c 1000000", _preload_content=True)
    expect("a megabyte", len(big), 1000000)


def case_port_forward(core):
    core.create_namespaced_pod(NAMESPACE, pod("web", "sh", "-c", "mkdir /www; echo hello > /www/index.html; httpd -f -p 8080 -h /www"))
    running(core, "web")
    def fetch():
        forward = portforward(core.connect_get_namespaced_pod_portforward, "web", NAMESPACE, ports="8080")
        socket = forward.socket(8080)
        socket.settimeout(5)
        socket.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while part := socket.recv(4096):
            answer += part
        assert answer.endswith(b"hello\n"), (answer, forward.error(8080))
    eventually(fetch)
    expect("through the proxy", core.connect_get_namespaced_pod_proxy_with_path("web:8080", NAMESPACE, "index.html", _preload_content=False).data, b"hello\n")


def case_dynamic(core):
    dyn = dynamic.DynamicClient(client.ApiClient())
    definitions = dyn.resources.get(api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition")
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"n": {"type": "integer"}}}}}
    definitions.create(body={"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "things.python.example.com"},
                             "spec": {"group": "python.example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
                                      "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}]}})
    eventually(lambda: expect("established", [c.status for c in (definitions.get(name="things.python.example.com").status.conditions or []) if c.type == "Established"], ["True"]))
    things = eventually(lambda: dyn.resources.get(api_version="python.example.com/v1", kind="Thing"))
    body = lambda name, n: {"apiVersion": "python.example.com/v1", "kind": "Thing", "metadata": {"name": name}, "spec": {"n": n}}
    expect("created", things.create(body=body("t", 1), namespace=NAMESPACE).spec.n, 1)
    expect("patched", things.patch(body={"spec": {"n": 2}}, name="t", namespace=NAMESPACE, content_type="application/merge-patch+json").spec.n, 2)
    applied = things.server_side_apply(body=body("u", 3), name="u", namespace=NAMESPACE, field_manager="python")
    expect("applied by", applied.metadata.managedFields[0].manager, "python")
    seen = [(e["type"], e["object"].metadata.name) for e in things.watch(namespace=NAMESPACE, timeout=1)]
    expect("watched", sorted(seen), [("ADDED", "t"), ("ADDED", "u")])
    things.delete(name="t", namespace=NAMESPACE)
    expect("left", [i.metadata.name for i in things.get(namespace=NAMESPACE).items], ["u"])
    custom = client.CustomObjectsApi()
    expect("as custom objects", custom.list_namespaced_custom_object("python.example.com", "v1", NAMESPACE, "things")["items"][0]["spec"], {"n": 3})


def case_from_yaml(core):
    utils.create_from_dict(client.ApiClient(), {"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "y", "namespace": NAMESPACE}},
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "n", "namespace": NAMESPACE}, "spec": {"podSelector": {}}}]})
    expect("policies", len(client.NetworkingV1Api().list_namespaced_network_policy(NAMESPACE).items), 1)
    api = client.AuthorizationV1Api()
    review = client.V1SelfSubjectAccessReview(spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=client.V1ResourceAttributes(verb="delete", resource="nodes")))
    expect("allowed", api.create_self_subject_access_review(review).status.allowed, True)
    token = core.create_namespaced_service_account_token("default", NAMESPACE, {"spec": {"audiences": None, "expirationSeconds": 3600}}).status.token
    limited = client.Configuration.get_default_copy()
    limited.cert_file = limited.key_file = None
    limited.api_key = {"authorization": "Bearer " + token}
    refused(403, "Forbidden", lambda: client.CoreV1Api(client.ApiClient(limited)).list_node())


def case_leader_election(core):
    leads, stopped = threading.Event(), threading.Event()
    lock = ConfigMapLock("lock", NAMESPACE, "me")
    elected = electionconfig.Config(lock, lease_duration=5, renew_deadline=4, retry_period=1, onstarted_leading=leads.set, onstopped_leading=stopped.set)
    threading.Thread(target=leaderelection.LeaderElection(elected).run, daemon=True).start()
    assert leads.wait(5), "nobody leads"
    record = json.loads(core.read_namespaced_config_map("lock", NAMESPACE).metadata.annotations["control-plane.alpha.kubernetes.io/leader"])
    expect("holder", record["holderIdentity"], "me")


def case_removes_all(core):
    core.delete_collection_namespaced_config_map(NAMESPACE, label_selector="x=1")
    core.delete_namespace(NAMESPACE, propagation_policy="Background")
    def is_gone():
        try:
            core.read_namespace(NAMESPACE)
        except ApiException as e:
            return expect("code", e.status, 404)
        raise AssertionError("the namespace is there still")
    eventually(is_gone, 60)


def main():
    config.load_kube_config()
    logging.getLogger().addHandler(Kept(level=logging.WARNING))
    warnings.simplefilter("default")
    warnings.simplefilter("ignore", ResourceWarning)  # sockets that the client leaves to the collector
    logging.captureWarnings(True)
    core = client.CoreV1Api()
    failed = 0
    for name, case in [(n[5:].replace("_", " "), c) for n, c in globals().items() if n.startswith("case_")]:
        try:
            logged.clear()
            case(core)
            assert not logged, f"the client logged: {logged}"
            print(f"ok   {name}", flush=True)
        except Exception as e:  # whatever a client throws is a failure of the case
            failed += 1
            where = traceback.extract_tb(e.__traceback__)
            print(f"FAIL {name}: {type(e).__name__} {e} (line {[f.lineno for f in where if f.filename == __file__]})".replace("\n", " "), flush=True)
    sys.exit(failed > 0)


main()
