#!/usr/bin/env python3
"""Asks a real kube-apiserver what it says to each case and writes the answers below the cases.

  record.py --server https://127.0.0.1:6443 --token TOKEN FILE...

Run on copies against kcube itself, the differences are those of the whole server.

A file has lines of these sorts:
  base NAME GROUP/VERSION/RESOURCE OBJECT      an object that is valid ("v1/pods" for the core group)
  create NAME EDITS                            POST of the base with edits, as a dry run
  update[/SUBRESOURCE] NAME EDITS              PUT of the stored base with edits, as a dry run
EDITS are PATH=JSON, several joined by " && "; null removes. Below a case stand the causes that are expected, each indented,
"REASON FIELD: MESSAGE", or "ok". Values of objects and long ends of messages are written as "…".
"""
import argparse, copy, json, re, ssl, urllib.error, urllib.request

CONTEXT = ssl._create_unverified_context()


def request(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    if ARGS.token: headers["Authorization"] = "Bearer " + ARGS.token
    try:
        with urllib.request.urlopen(urllib.request.Request(ARGS.server + path, data, headers, method=method), context=CONTEXT) as r:
            return r.status, json.load(r)
    except urllib.error.HTTPError as e:
        return e.code, json.load(e)


def split_path(path):
    parts = []
    for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        parts.append(int(index) if index else name)
    return parts


def edit(obj, edits):
    obj = copy.deepcopy(obj)
    for one in filter(None, (e.strip() for e in edits.split(" && "))):
        path, _, text = one.partition("=")
        parts, value = split_path(path.strip()), json.loads(text)
        at = obj
        for i, part in enumerate(parts[:-1]):
            if isinstance(at, list):
                while len(at) <= part: at.append({})
                at = at[part]
            else:
                if not isinstance(at.get(part), (dict, list)): at[part] = [] if isinstance(parts[i + 1], int) else {}
                at = at[part]
        if isinstance(at, list):
            while len(at) <= parts[-1]: at.append(None)
            at[parts[-1]] = value
            if value is None: del at[parts[-1]]
        elif value is None:
            at.pop(parts[-1], None)
        else:
            at[parts[-1]] = value
    return obj


def shorten(message):
    message = message.split("\n")[0]
    message = re.sub(r"^((?:Invalid|Duplicate|Unsupported) value: )[\[{].*[\]}](?=$|: )", r"\1…", message)
    return message if len(message) <= 150 else message[:150] + "…"


def remove(path, name):
    code, body = request("GET", f"{path}/{name}")
    if code >= 300: return
    if body["metadata"].pop("finalizers", None): request("PUT", f"{path}/{name}", body)
    request("DELETE", f"{path}/{name}?gracePeriodSeconds=0&propagationPolicy=Background")


def collection(gvr, namespace):
    group, _, rest = gvr.rpartition("/")
    prefix = "/api/" + group if "/" not in group else "/apis/" + group
    return prefix + ("/namespaces/" + namespace if namespace else "") + "/" + rest


def answer(verb, sub, gvr, obj):
    namespace, name = obj["metadata"].get("namespace"), obj["metadata"].get("name", "")
    path = collection(gvr, BASES_NS.get(gvr, namespace))
    code, body = request("POST", path + "?dryRun=All", obj) if verb == "create" else request("PUT", f"{path}/{obj['metadata']['name']}{sub}?dryRun=All", obj)
    if code < 300: return ["ok"]
    if code != 422: return [f"{code} {shorten(body.get('message', ''))}"]
    return [f"{c['reason']} {c.get('field', '')}: {shorten(c.get('message', ''))}" for c in body["details"].get("causes", [])]


def record(name):
    bases, stored, out = {}, {}, []
    for line in open(name, encoding="utf-8").read().splitlines():
        if line.startswith("  "): continue
        out.append(line)
        word, _, rest = line.partition(" ")
        if word == "base":
            key, gvr, text = rest.split(" ", 2)
            bases[key] = (gvr, json.loads(text))
            BASES_NS[gvr] = bases[key][1]["metadata"].get("namespace")
        elif word == "create":
            key, _, edits = rest.partition(" ")
            gvr, obj = bases[key]
            out += ["  " + a for a in answer("create", "", gvr, edit(obj, edits))]
        elif word.startswith("update"):
            key, _, edits = rest.partition(" ")
            gvr, obj = bases[key]
            path = collection(gvr, obj["metadata"].get("namespace"))
            if key not in stored:
                remove(path, obj["metadata"]["name"])
                code, body = request("POST", path, obj)
                if code >= 300: raise SystemExit(f"{key}: {code} {body.get('message')}")
                if "status" in obj: request("PUT", f"{path}/{obj['metadata']['name']}/status", dict(body, status=obj["status"]))
                stored[key] = True
            # Controllers may have written since.
            _, obj = request("GET", f"{path}/{obj['metadata']['name']}")
            obj["metadata"].pop("managedFields", None)
            out += ["  " + a for a in answer("update", word[len("update"):], gvr, edit(obj, edits))]
    for key in stored:
        gvr, obj = bases[key]
        remove(collection(gvr, obj["metadata"].get("namespace")), obj["metadata"]["name"])
    open(name, "w", encoding="utf-8").write("\n".join(out) + "\n")


BASES_NS = {}
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--server", required=True)
parser.add_argument("--token", default="")
parser.add_argument("--cert", help="instead of a token: the client's certificate and key")
parser.add_argument("--key")
parser.add_argument("files", nargs="+")
ARGS = parser.parse_args()
if ARGS.cert: CONTEXT.load_cert_chain(ARGS.cert, ARGS.key)
for one in ARGS.files: record(one)
