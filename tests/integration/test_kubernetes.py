"""The manifests in docker/kubernetes: Kubernetes' own schemas, what they refer to, and the configuration in them."""

import json
import os
import subprocess

import kubernetes_validate
import pytest
import yaml

from rig.paths import BUILD, ROOT

FOLDER = ROOT / "docker" / "kubernetes"
VERSIONS = ("1.29", "1.37")
FERRYD = BUILD / "bin" / "ferryd"


def documents():
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    assert files == set(kustomization["resources"])
    for name in sorted(files):
        yield from yaml.safe_load_all((FOLDER / name).read_text())


def of_kind(*kinds):
    return {document["metadata"]["name"]: document for document in documents() if document["kind"] in kinds}


WORKLOADS = of_kind("StatefulSet", "Deployment")


@pytest.mark.parametrize("version", VERSIONS)
def test_schemas(version):
    count = 0
    for document in documents():
        kubernetes_validate.validate(document, version, strict=True)
        count += 1
    assert count >= 8
    broken = next(iter(WORKLOADS.values())) | {"spec": {"replicas": "two"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, version, strict=True)


@pytest.mark.parametrize("name", WORKLOADS)
def test_what_a_pod_may_do(name):
    pod = WORKLOADS[name]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False
    security = pod["securityContext"]
    assert security["runAsNonRoot"] and security["runAsUser"] == security["fsGroup"] == 946  # docker/Dockerfile
    for box in pod["containers"]:
        own = box["securityContext"]
        assert own["readOnlyRootFilesystem"] and not own["allowPrivilegeEscalation"]
        assert own["capabilities"]["drop"] == ["ALL"] and box["resources"]["limits"]["memory"]


@pytest.mark.parametrize("name", WORKLOADS)
def test_what_is_mounted_is_there(name):
    """Volumes, maps and secrets by name; what the configuration reads lies in a mount, and is a key of its secret."""
    pod = WORKLOADS[name]["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    box = pod["containers"][0]
    assert {mount["name"] for mount in box["volumeMounts"]} == set(volumes)
    maps, secrets = of_kind("ConfigMap"), of_kind("Secret")
    files = set()
    for mount in box["volumeMounts"]:
        volume = volumes[mount["name"]]
        if "configMap" in volume:
            files |= {f"{mount['mountPath']}/{key}" for key in maps[volume["configMap"]["name"]]["data"]}
        if "secret" in volume:
            keys = secrets[volume["secret"]["secretName"]]["stringData"]
            files |= {f"{mount['mountPath']}/{key}" for key in keys}
            assert volume["secret"]["defaultMode"] & 0o022 == 0  # ferry refuses what others may write
    assert "/etc/ferry/ferry.json" in files
    named = named_files(configuration())
    missing = {path for path in named if path not in files}
    # a worker has no keys of DNS, and needs none
    assert missing == ({path for path in named if "/dns/" in path} if name == "ferryd" else set())


def test_a_workers_name_stays():
    """A static member is its pod's name: never two of one name, and the same after a rollout."""
    worker = WORKLOADS["ferryd"]
    assert worker["kind"] == "StatefulSet" and worker["spec"]["serviceName"] in of_kind("Service")
    labels = worker["spec"]["template"]["metadata"]["labels"]
    for document in (worker, of_kind("PodDisruptionBudget")["ferryd"]):
        assert document["spec"]["selector"]["matchLabels"].items() <= labels.items()
    pod = worker["spec"]["template"]["spec"]
    box = pod["containers"][0]
    assert (
        box["livenessProbe"]["httpGet"]["path"] == "/healthz" and box["readinessProbe"]["httpGet"]["path"] == "/readyz"
    )
    assert pod["terminationGracePeriodSeconds"] >= 20  # drains 10 s, and 5 more


def configuration():
    return json.loads(of_kind("ConfigMap")["ferry"]["data"]["ferry.json"])


def named_files(tree):
    if isinstance(tree, dict):
        own = {tree["file"]} if set(tree) == {"file"} else set()
        return own.union(*(named_files(value) for value in tree.values()))
    return set().union(*(named_files(value) for value in tree)) if isinstance(tree, list) else set()


def test_ferryd_takes_the_configuration(tmp_path):
    """With the secrets as they are mounted; a worker's pod has those of DNS not at all."""
    text = of_kind("ConfigMap")["ferry"]["data"]["ferry.json"].replace("/run/ferry", str(tmp_path))
    for path in named_files(json.loads(text)):
        if "/dns/" not in path:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o440), "w") as file:
                file.write("change-me\n")
    (tmp_path / "ferry.json").write_text(text)

    def check():
        return subprocess.run(
            [FERRYD, "--check", "--config", tmp_path / "ferry.json"], capture_output=True, text=True, timeout=20
        )

    done = check()
    assert done.returncode == 0 and "ok" in done.stdout, done
    (tmp_path / "ferry.json").write_text(text.replace('"home": "hangzhou"', '"home": "nowhere"'))
    assert check().returncode == 7
