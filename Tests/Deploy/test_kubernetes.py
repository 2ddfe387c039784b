"""The manifests are what Kubernetes's published schemas ask for, and fit each other, the configuration and the docs."""

import json
import subprocess

import pytest

from conftest import DEPLOY, ROOT

FOLDER = DEPLOY / "kubernetes"
OLDEST = "1.27"
"""Checked against this version and the newest that there is a schema of."""

CHECK = """
import json, sys, yaml, kubernetes_validate
problems, objects = [], []
for path in sys.argv[2:]:
    with open(path) as file:
        for document in yaml.safe_load_all(file):
            objects.append(document)
            if document["apiVersion"].startswith("kustomize."):
                continue
            for version in (sys.argv[1], kubernetes_validate.latest_version()):
                try:
                    kubernetes_validate.validate(document, version, strict=True)
                except kubernetes_validate.ValidationError as problem:
                    problems.append(f"{path}, {document['kind']}, {version}: {problem}")
json.dump({"problems": problems, "objects": objects}, sys.stdout)
"""


def check(python, *paths):
    return json.loads(subprocess.check_output([python, "-c", CHECK, OLDEST, *paths], text=True))


@pytest.fixture(scope="module")
def checked(schema_python):
    return check(schema_python, *sorted(FOLDER.glob("*.yaml")))


@pytest.fixture(scope="module")
def objects(checked):
    """(kind, name) to object."""
    return {(thing["kind"], thing.get("metadata", {}).get("name", "")): thing for thing in checked["objects"]}


def test_schemas_find_nothing(checked):
    assert checked["problems"] == []
    assert len(checked["objects"]) == 7


def test_schemas_would_find_something(schema_python, tmp_path):
    wrong = tmp_path / "node.yaml"
    wrong.write_text((FOLDER / "node.yaml").read_text().replace("hostNetwork:", "hostNetwrk:"))
    assert "hostNetwrk" in check(schema_python, wrong)["problems"][0]


def pods(objects):
    return [thing["spec"]["template"]["spec"] for (kind, _), thing in objects.items() if kind in ("DaemonSet", "Job")]


def test_what_is_mounted_is_there_and_of_use(objects):
    for pod in pods(objects):
        mounted = {mount["name"] for container in pod["initContainers"] + pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
        (shared,) = [volume for volume in pod["volumes"] if volume["name"] == "shared-memory"]
        assert shared["emptyDir"]["medium"] == "Memory"
        assert {"name": "shared-memory", "mountPath": "/dev/shm"} in pod["containers"][0]["volumeMounts"]


def test_pods_run_as_the_user_of_the_image(objects):
    containerfile = (DEPLOY / "container/Containerfile").read_text()
    for pod in pods(objects):
        user = pod["securityContext"]
        assert user["runAsNonRoot"] and f"USER {user['runAsUser']}:{user['runAsGroup']}\n" in containerfile
        for container in pod["initContainers"] + pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False


def test_selectors_select(objects):
    node = objects["DaemonSet", "hermes-node"]["spec"]
    assert node["selector"]["matchLabels"] == node["template"]["metadata"]["labels"]
    (job,) = [thing for (kind, _), thing in objects.items() if kind == "Job"]
    policy = objects["NetworkPolicy", "coordinator-to-nodes"]["spec"]
    assert policy["podSelector"]["matchLabels"] == job["spec"]["template"]["metadata"]["labels"]
    assert policy["egress"][0]["ports"] == [{"protocol": "TCP", "port": 7600, "endPort": 7699}]


def test_kustomization_names_what_stays(objects):
    listed = objects["Kustomization", ""]["resources"]
    files = {path.name for path in FOLDER.glob("*.yaml")}
    assert set(listed) == files - {"kustomization.yaml", "simulation.yaml", "coordinator.yaml"}


def test_every_object_named_is_made(objects):
    """Secrets by a command in the docs, as they are nobody's to publish; the rest by a manifest."""
    operations = (ROOT / "docs/operations.md").read_text()
    for pod in pods(objects):
        for volume in pod["volumes"]:
            if "secret" in volume:
                assert f"create secret generic {volume['secret']['secretName']} " in operations
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in objects


def test_the_simulation_is_valid(objects, hermes, tmp_path):
    (tmp_path / "sim.yaml").write_text(objects["ConfigMap", "hermes-simulation"]["data"]["sim.yaml"])
    done = subprocess.run([hermes, "validate", tmp_path / "sim.yaml"], capture_output=True, text=True)
    assert done.returncode == 0 and "warning" not in done.stdout + done.stderr, done.stdout + done.stderr
