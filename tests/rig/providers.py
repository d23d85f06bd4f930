"""Providers of DNS for tests: the real server where there is one, else a stand-in that the provider's own SDK is run
against.

service = Route53(authority, folder, zone="dr.test")     with the record `kafka` in its zone, and another one
service.settings()               the zone's part of a configuration
service.value(), .put(30, "x")   (TTL, value) as the SDK sees it; somebody else's change, by the SDK
service.api                      rig.api.Api before it: faults, requests

SDKs are loaded by who asks for them: together they take seconds.
"""

import base64
import contextlib
import hashlib
import json
import ssl
import sys
import time
import urllib.parse
import urllib.request

from rig.api import Answer, Api, forward
from rig.nameserver import PowerDns
from rig.paths import RIG
from rig.procs import Process, free_port, wait_for
from rig.secure import openssl

TTL = 30


class Service:
    """One zone with a provider. Subclasses fill in `api`, `keys()`, `value()`, `put()`."""

    kind = "?"
    secret = "a-secret-that-nobody-sees"
    wrong_secret = "another-secret"
    compares = True  # the provider itself
    requests_a_change = 1
    sends_secret = True  # or signs with it

    def __init__(self, authority, folder, zone):
        self.folder = folder / self.kind
        self.folder.mkdir(parents=True)
        self.zone = zone
        self.record = f"kafka.{zone}"
        self.authority = authority
        self.certificate = authority.certificate(self.kind, names=["localhost"])
        self.start()

    def file(self, name, text):
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        return str(path)

    def settings(self, **more):
        return {
            "provider": self.kind,
            "secret": {"file": self.file("secret", self.secret + "\n")},
            "endpoint": self.api.url,
            "ca": str(self.authority.pem),
            "request_timeout": "2500ms",
            **self.keys(),
            **more,
        }

    def meanwhile(self, ttl, value):
        """As put(), by somebody who is served at once."""
        self.put(ttl, value)

    def first_is_read(self):
        """Faults of reads are for those behind the change."""
        faults, self.api.faults = self.api.faults, []

        def properly(_, __, answer):
            return answer()

        self.api.fault(properly, writes=False)
        self.api.faults += faults

    def reset(self):
        self.api.heal()
        if self.value() != (TTL, f"kafka-a.{self.zone}"):
            self.put(TTL, f"kafka-a.{self.zone}")
        self.api.heal()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.api.__exit__()


# --- PowerDNS: its own server -----------------------------------------------------------------------------------------


class PowerDnsApi(Service):
    kind = "powerdns"
    secret = PowerDns.api_key
    compares = False

    def start(self):
        self.server = server = PowerDns("api", self.folder, zone=self.zone).start()

        class Front(Api):
            def answer(self, request):
                return forward(server.api_url, request)

        self.api = Front(self.certificate)

    def keys(self):
        return {}

    def value(self, name="kafka"):
        return self.server.value(name)

    def put(self, ttl, value, name="kafka"):
        self.server.put(name, ttl, "CNAME", value + ".")

    def __exit__(self, *_):
        super().__exit__()
        self.server.kill9()


# --- Route 53: moto, which checks signatures of changes; the front checks every one -----------------------------------


def sigv4(request, key, secret, region="us-east-1"):
    """The signature of a request by botocore's own signer."""
    import botocore.auth
    import botocore.awsrequest
    import botocore.credentials

    claimed = dict(part.split("=", 1) for part in request.header("authorization").split(" ", 1)[1].split(", "))
    names = claimed["SignedHeaders"].split(";")
    signed = botocore.awsrequest.AWSRequest(
        request.method, f"https://{request.header('host')}{request.path}", data=request.body,
        headers={name: request.header(name) for name in names},
    )  # fmt: skip
    signed.context["timestamp"] = request.header("x-amz-date")
    token = request.header("x-amz-security-token") or None
    signer = botocore.auth.SigV4Auth(botocore.credentials.Credentials(key, secret, token), "route53", region)
    text = signer.string_to_sign(signed, signer.canonical_request(signed))
    assert not token or "x-amz-security-token" in names
    assert "host" in names and "x-amz-date" in names
    return signer.signature(text, signed), claimed["Signature"]


class Route53(Service):
    kind = "route53"
    sends_secret = False

    def start(self):
        self.port = free_port()
        self.process = Process(
            "moto",
            [sys.executable, "-m", "rig.moto_server", "-H", "127.0.0.1", "-p", str(self.port)],
            self.folder / "moto.log",
            env={"INITIAL_NO_AUTH_ACTION_COUNT": "inf", "PYTHONPATH": str(RIG.parent)},
        ).start()
        wait_for("moto", lambda: self.moto("GET", "/moto-api/data.json"), 30)
        iam = self.client("iam", f"http://127.0.0.1:{self.port}", "any", "any")
        iam.create_user(UserName="ferry")
        key = iam.create_access_key(UserName="ferry")["AccessKey"]
        self.access_key, self.secret = key["AccessKeyId"], key["SecretAccessKey"]
        self.true_secret = self.secret
        self.sessions = {}  # access key: secret, token
        self.policy = policy = (
            '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "route53:*", "Resource": "*"}]}'
        )
        iam.put_user_policy(UserName="ferry", PolicyName="p", PolicyDocument=policy)
        service = self

        class Front(Api):
            pending = False  # for ever

            def answer(self, request):
                return service.checked(request, self.pending)

        self.api = Front(self.certificate)
        self.sdk = self.client("route53", self.api.url, self.access_key, self.secret)
        self.id = self.sdk.create_hosted_zone(Name=self.zone, CallerReference="1")["HostedZone"]["Id"].split("/")[-1]
        self.put(TTL, f"kafka-a.{self.zone}")

    def client(self, name, url, key, secret):
        import boto3
        import botocore.config

        config = botocore.config.Config(retries={"max_attempts": 0}, proxies={})
        return boto3.client(
            name, endpoint_url=url, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret,
            config=config, verify=str(self.authority.pem),
        )  # fmt: skip

    def moto(self, method, path, body=None):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, method=method)
        request.add_header("Content-Type", "text/plain")
        return opener.open(request, timeout=10).read()

    def temporary(self):
        """Keys of a role, with a session token: what a container or an instance is given."""
        iam = self.client("iam", f"http://127.0.0.1:{self.port}", "any", "any")
        with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
            iam.create_role(RoleName="ferry", AssumeRolePolicyDocument="{}")
        iam.put_role_policy(RoleName="ferry", PolicyName="p", PolicyDocument=self.policy)
        sts = self.client("sts", f"http://127.0.0.1:{self.port}", "any", "any")
        role = "arn:aws:iam::123456789012:role/ferry"
        keys = sts.assume_role(RoleArn=role, RoleSessionName="ferry")["Credentials"]
        self.sessions[keys["AccessKeyId"]] = (keys["SecretAccessKey"], keys["SessionToken"])
        return keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"]

    def checked(self, request, pending):
        key = request.header("authorization").partition("Credential=")[2].partition("/")[0]
        known = {self.access_key: (self.true_secret, "")} | self.sessions
        secret, token = known.get(key, (None, None))
        if secret is None or request.header("x-amz-security-token") != token:
            return self.error(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
        ours, theirs = sigv4(request, key, secret)
        if ours != theirs:
            return self.error(403, "SignatureDoesNotMatch", "The request signature we calculated does not match")
        # moto 5.2.5 refuses the signatures of reads, boto3's too
        self.moto("POST", "/moto-api/reset-auth", b"inf" if request.method == "GET" else b"0")
        answer = forward(f"http://127.0.0.1:{self.port}", request)
        if pending:
            answer.body = answer.body.replace(b"INSYNC", b"PENDING")
        return answer

    @staticmethod
    def error(status, code, message):
        body = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
        return Answer(status, body.encode(), {"Content-Type": "text/xml"})

    def keys(self):
        return {"access_key": self.access_key, "id": self.id}

    def sets(self, name="kafka"):
        found = self.sdk.list_resource_record_sets(HostedZoneId=self.id)["ResourceRecordSets"]
        return [rrset for rrset in found if rrset["Name"] == f"{name}.{self.zone}."]

    def value(self, name="kafka"):
        for rrset in self.sets(name):
            if rrset["Type"] == "CNAME":
                return rrset["TTL"], rrset["ResourceRecords"][0]["Value"].rstrip(".")
        return None

    def change(self, action, **rrset):
        changes = [{"Action": action, "ResourceRecordSet": rrset}]
        self.sdk.change_resource_record_sets(HostedZoneId=self.id, ChangeBatch={"Changes": changes})

    def alias(self, value, hosted_zone, healthy=False, kind="A", name="kafka"):
        """A set that is an alias, as somebody else makes it."""
        to = {"HostedZoneId": hosted_zone, "DNSName": f"{value}.", "EvaluateTargetHealth": healthy}
        return {"Name": f"{name}.{self.zone}.", "Type": kind, "AliasTarget": to}

    def put(self, ttl, value, name="kafka"):
        rrset = {
            "Name": f"{name}.{self.zone}.",
            "Type": "CNAME",
            "TTL": ttl,
            "ResourceRecords": [{"Value": f"{value}."}],
        }
        self.change("UPSERT", **rrset)

    def __exit__(self, *_):
        super().__exit__()
        self.process.kill9()


# --- stand-ins of ours, as far as Ferry and the official SDKs ask -----------------------------------------------------


class StandIn(Service):
    """`records`: {(name, type): a record as the provider's API has it}."""

    def start(self):
        service = self
        self.count = 0
        self.records = {}

        class Front(Api):
            def answer(self, request):
                return service.answer(request)

            def is_ours(self, request):
                return service.is_ours(request)

            def is_write(self, request):
                return service.is_write(request)

        self.api = Front(self.certificate)
        self.prepare()
        self.put(TTL, f"kafka-a.{self.zone}")

    def prepare(self):
        pass

    def is_ours(self, request):
        return True

    def is_write(self, request):
        return request.method in Api.writes

    def next(self):
        self.count += 1
        return self.count


def cloudflare_error(status, message):
    return Answer.of(
        {"success": False, "errors": [{"code": 1000, "message": message}], "messages": [], "result": None}, status
    )


class Cloudflare(StandIn):
    """https://developers.cloudflare.com/api/resources/dns/subresources/records/"""

    kind = "cloudflare"
    compares = False
    id = "0123456789abcdef0123456789abcdef"

    def prepare(self):
        import cloudflare
        import httpx

        self.secret = self.right = "token-of-cloudflare"
        self.sdk = cloudflare.Cloudflare(
            api_token=self.right, base_url=self.api.url + "/client/v4", max_retries=0,
            http_client=httpx.Client(verify=ssl.create_default_context(cafile=self.authority.pem), trust_env=False),
        )  # fmt: skip

    def settings(self, **more):
        return super().settings(**({"endpoint": self.api.url + "/client/v4"} | more))

    def keys(self):
        return {"id": self.id}

    def answer(self, request):
        root = f"/client/v4/zones/{self.id}/dns_records"
        if request.header("authorization") != f"Bearer {self.right}":
            return cloudflare_error(403, "Invalid access token")
        if not request.place.startswith(root):
            return cloudflare_error(404, "Could not route to zone")
        record = request.place[len(root) + 1 :]
        if request.method == "GET":
            wanted = request.query.get("name.exact")
            found = [r for r in self.records.values() if wanted in (None, r["name"])]
            found = found if request.query.get("page", "1") == "1" else []
            info = {"page": 1, "per_page": 100, "count": len(found), "total_count": len(found)}
            return self.good(found, result_info=info)
        data = request.json() if request.body else {}
        if request.method == "POST":
            if any(r["name"] == data["name"] for r in self.records.values()):
                return cloudflare_error(400, "An A, AAAA, or CNAME record with that host already exists.")
            record = f"{self.next():032x}"
            self.records[record] = {"id": record, "proxied": False, "ttl": 1} | data
        elif record not in self.records:
            return cloudflare_error(404, "Record does not exist.")
        elif request.method == "DELETE":
            return self.good({"id": self.records.pop(record)["id"]})
        else:
            self.records[record] |= data
        return self.good(self.records[record])

    @staticmethod
    def good(result, **more):
        return Answer.of({"success": True, "errors": [], "messages": [], "result": result, **more})

    def listed(self, name):
        return list(self.sdk.dns.records.list(zone_id=self.id, name={"exact": f"{name}.{self.zone}"}))

    def value(self, name="kafka"):
        for record in self.listed(name):
            if record.type == "CNAME":
                return record.ttl, record.content
        return None

    def put(self, ttl, value, name="kafka"):
        full = f"{name}.{self.zone}"
        for record in self.listed(name):
            self.sdk.dns.records.edit(record.id, zone_id=self.id, type="CNAME", name=full, content=value, ttl=ttl)
            return
        self.sdk.dns.records.create(zone_id=self.id, type="CNAME", name=full, content=value, ttl=ttl, proxied=False)


class AliDns(StandIn):
    """https://help.aliyun.com/en/dns/api-alidns-2015-01-09-dir-domain-name-resolution"""

    kind = "alidns"
    compares = False
    sends_secret = False
    access_key = "LTAI-test"

    def prepare(self):
        from alibabacloud_alidns20150109 import client as alidns
        from alibabacloud_alidns20150109 import models
        from alibabacloud_tea_openapi import utils_models as alidns_models

        self.models = models
        self.right = self.secret
        config = alidns_models.Config(
            access_key_id=self.access_key, access_key_secret=self.right, endpoint=f"localhost:{self.api.port}",
            protocol="HTTPS", ca=str(self.authority.pem), no_proxy="localhost",
        )  # fmt: skip
        self.sdk = alidns.Client(config)

    def keys(self):
        return {"access_key": self.access_key}

    def is_write(self, request):
        return request.header("x-acs-action") in ("AddDomainRecord", "UpdateDomainRecord", "DeleteDomainRecord")

    @staticmethod
    def error(status, code, message):
        return Answer.of({"Code": code, "Message": message, "RequestId": "1", "HostId": "x"}, status)

    def signature(self, request):
        """By the SDK's own signer, over the headers that are said to be signed."""
        from alibabacloud_tea_openapi.utils import Utils
        from darabonba.request import DaraRequest

        names = request.header("authorization").split("SignedHeaders=")[1].split(",")[0].split(";")
        assert {"host", "x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-version"} <= set(names)
        again = DaraRequest()
        again.method, again.pathname, again.query = request.method, request.place, request.query
        again.headers = {name: request.header(name) for name in names}
        payload = hashlib.sha256(request.body).hexdigest()
        assert payload == request.header("x-acs-content-sha256")
        return Utils.get_authorization(again, "ACS3-HMAC-SHA256", payload, self.access_key, self.right)

    def answer(self, request):
        if self.access_key not in request.header("authorization"):
            return self.error(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
        if self.signature(request) != request.header("authorization"):
            return self.error(400, "SignatureDoesNotMatch", "Specified signature is not matched.")
        action, query = request.header("x-acs-action"), request.query
        if query.get("DomainName", self.zone) != self.zone:
            return self.error(400, "InvalidDomainName.NoExist", "The specified domain name does not exist.")
        if action == "DescribeSubDomainRecords":
            found = [r for r in self.records.values() if f"{r['RR']}.{self.zone}" == query["SubDomain"]]
            return Answer.of({"TotalCount": len(found), "PageSize": 100, "PageNumber": 1, "RequestId": "1",
                              "DomainRecords": {"Record": found}})  # fmt: skip
        record = query.get("RecordId") or str(1000000 + self.next())
        new = {"RecordId": record, "RR": query["RR"], "Type": query["Type"], "Value": query["Value"],
               "TTL": int(query.get("TTL", 600)), "Line": query.get("Line", "default"), "Status": "ENABLE",
               "DomainName": self.zone, "Locked": False, "Weight": 1}  # fmt: skip
        if action == "UpdateDomainRecord" and record not in self.records:
            return self.error(400, "DomainRecordNotBelongToUser", "The domain record does not belong to you.")
        if any({**r, "RecordId": ""} == {**new, "RecordId": ""} for r in self.records.values()):
            return self.error(400, "DomainRecordDuplicate", "The domain record already exists.")
        if action == "AddDomainRecord" and any(r["RR"] == new["RR"] for r in self.records.values()):
            return self.error(400, "DomainRecordConflict", "The domain record conflicts with other records.")
        self.records[record] = new
        return Answer.of({"RecordId": record, "RequestId": "1"})

    def value(self, name="kafka"):
        request = self.models.DescribeSubDomainRecordsRequest(sub_domain=f"{name}.{self.zone}", domain_name=self.zone)
        for record in self.sdk.describe_sub_domain_records(request).body.domain_records.record:
            if record.type == "CNAME":
                return record.ttl, record.value
        return None

    def put(self, ttl, value, name="kafka"):
        with contextlib.suppress(StopIteration):
            record = next(r["RecordId"] for r in self.records.values() if r["RR"] == name)
            self.sdk.update_domain_record(
                self.models.UpdateDomainRecordRequest(record_id=record, rr=name, type="CNAME", value=value, ttl=ttl)
            )
            return
        self.sdk.add_domain_record(
            self.models.AddDomainRecordRequest(domain_name=self.zone, rr=name, type="CNAME", value=value, ttl=ttl)
        )


class Google(StandIn):
    """https://cloud.google.com/dns/docs/reference/rest/v1"""

    kind = "google"
    project = "a-project"
    id = "dr-test"
    mail = "ferry@a-project.iam.gserviceaccount.com"

    def prepare(self):
        import google.auth.transport.requests
        import google.cloud.dns
        import requests
        from google.auth.credentials import AnonymousCredentials
        from google.oauth2 import service_account

        openssl("genrsa", "-out", self.folder / "key.pem", "2048")
        self.public = openssl("rsa", "-in", self.folder / "key.pem", "-pubout")
        self.account = {
            "type": "service_account", "project_id": self.project, "private_key_id": "1", "client_email": self.mail,
            "private_key": openssl("pkcs8", "-topk8", "-nocrypt", "-in", self.folder / "key.pem"),
            "token_uri": self.api.url + "/token",
        }  # fmt: skip
        self.secret = json.dumps(self.account, indent=2)
        openssl("genrsa", "-out", self.folder / "other.pem", "2048")
        other = openssl("pkcs8", "-topk8", "-nocrypt", "-in", self.folder / "other.pem")
        self.wrong_secret = json.dumps(self.account | {"private_key": other})
        self.tokens = set()
        self.changes = {}
        self.pending = False
        session = requests.Session()
        session.verify, session.trust_env = str(self.authority.pem), False
        credentials = service_account.Credentials.from_service_account_info(
            self.account, scopes=["https://www.googleapis.com/auth/ndev.clouddns.readwrite"]
        )
        credentials.refresh(google.auth.transport.requests.Request(session))
        session.headers["Authorization"] = f"Bearer {credentials.token}"
        self.sdk = google.cloud.dns.Client(
            self.project, credentials=AnonymousCredentials(), _http=session,
            client_options={"api_endpoint": self.api.url},
        ).zone(self.id, self.zone + ".")  # fmt: skip

    def keys(self):
        return {"project": self.project, "id": self.id}

    def is_ours(self, request):
        return request.path != "/token"

    def error(self, status, message):
        return Answer.of({"error": {"code": status, "message": message}}, status)

    def token(self, request):
        import google.auth.jwt
        from google.auth.crypt import RSAVerifier

        form = dict(urllib.parse.parse_qsl(request.body.decode()))
        try:
            assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
            certs = RSAVerifier.from_string(self.public)
            claims = google.auth.jwt.decode(form["assertion"], verify=False)
            signed, _, signature = form["assertion"].rpartition(".")
            assert certs.verify(signed.encode(), base64.urlsafe_b64decode(signature + "==")), "Invalid JWT Signature."
            assert claims["iss"] == self.mail and claims["aud"] == "https://oauth2.googleapis.com/token"
            assert claims["scope"].endswith("ndev.clouddns.readwrite") and claims["exp"] - claims["iat"] <= 3600
            assert abs(claims["iat"] - time.time()) < 60
        except AssertionError as err:
            return Answer.of({"error": "invalid_grant", "error_description": str(err)}, 400)
        token = f"ya29.token-{self.next()}"
        self.tokens.add(f"Bearer {token}")
        return Answer.of({"access_token": token, "expires_in": 3600, "token_type": "Bearer"})

    def answer(self, request):
        if request.path == "/token":
            return self.token(request)
        if request.header("authorization") not in self.tokens:
            return self.error(401, "Request had invalid authentication credentials.")
        root = f"/dns/v1/projects/{self.project}/managedZones/{self.id}/"
        if not request.place.startswith(root):
            return self.error(404, f"The 'parameters.managedZone' resource named '{request.place}' does not exist.")
        what, _, which = request.place[len(root) :].partition("/")
        if what == "rrsets":
            wanted = request.query.get("name")
            return Answer.of({"rrsets": [r for r in self.records.values() if wanted in (None, r["name"])]})
        if request.method == "GET":
            status = {"status": "pending"} if self.pending else {}
            return Answer.of(self.changes[which] | status)
        return self.change(request.json())

    def change(self, data):
        def plain(rrset):
            return {"name": rrset["name"], "type": rrset["type"], "ttl": int(rrset["ttl"]), "rrdatas": rrset["rrdatas"]}

        records = dict(self.records)
        for rrset in map(plain, data.get("deletions", [])):
            key = (rrset["name"], rrset["type"])
            if key not in records:
                return self.error(404, f"The 'entity.change.deletions' resource named '{key}' does not exist.")
            if plain(records.pop(key)) != rrset:
                return self.error(412, "Precondition not met for 'entity.change.deletions[0]'.")
        for rrset in map(plain, data.get("additions", [])):
            key = (rrset["name"], rrset["type"])
            if any(name == key[0] for name, _ in records):
                return self.error(409, f"The resource 'entity.change.additions[0]' named '{key}' already exists.")
            records[key] = {"kind": "dns#resourceRecordSet", "signatureRrdatas": []} | rrset
        self.records = records
        one = {"id": str(self.next()), "status": "done", "startTime": "2026-01-01T00:00:00.000Z", **data}
        self.changes[one["id"]] = one
        return Answer.of(one)

    def value(self, name="kafka"):
        for rrset in self.sdk.list_resource_record_sets():
            if (rrset.name, rrset.record_type) == (f"{name}.{self.zone}.", "CNAME"):
                return rrset.ttl, rrset.rrdatas[0].rstrip(".")
        return None

    def put(self, ttl, value, name="kafka"):
        changes = self.sdk.changes()
        for rrset in self.sdk.list_resource_record_sets():
            if rrset.name == f"{name}.{self.zone}.":
                changes.delete_record_set(rrset)
        changes.add_record_set(self.sdk.resource_record_set(f"{name}.{self.zone}.", "CNAME", ttl, [value + "."]))
        changes.create()


class Azure(StandIn):
    """https://learn.microsoft.com/en-us/rest/api/dns/record-sets"""

    kind = "azure"
    tenant = "11111111-2222-3333-4444-555555555555"
    client = "66666666-7777-8888-9999-000000000000"
    subscription = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
    group = "names"

    def prepare(self):
        from azure.core.pipeline.transport import RequestsTransport
        from azure.identity import ClientSecretCredential
        from azure.mgmt.dns import DnsManagementClient

        self.right = self.secret = "client~secret.with+signs/and=more&"
        self.tokens = set()
        transport = RequestsTransport(connection_verify=str(self.authority.pem), use_env_settings=False)
        credential = ClientSecretCredential(
            self.tenant, self.client, self.right, authority=self.api.url, disable_instance_discovery=True,
            transport=transport,
        )  # fmt: skip
        self.sdk = DnsManagementClient(
            credential, self.subscription, base_url=self.api.url, retry_total=0,
            credential_scopes=[self.api.url + "/.default"], api_version="2018-05-01",
            transport=RequestsTransport(connection_verify=str(self.authority.pem), use_env_settings=False),
        )  # fmt: skip

    def keys(self):
        return {
            "tenant": self.tenant, "client": self.client, "subscription": self.subscription,
            "resource_group": self.group, "sign_in": self.api.url,
        }  # fmt: skip

    def is_ours(self, request):
        return not request.path.startswith(f"/{self.tenant}/")

    def error(self, status, code, message):
        return Answer.of({"error": {"code": code, "message": message}}, status)

    def sign_in(self, request):
        base = f"{self.api.url}/{self.tenant}"
        if request.place.endswith("openid-configuration"):
            return Answer.of({
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "issuer": f"{base}/v2.0",
            })  # fmt: skip
        form = dict(urllib.parse.parse_qsl(request.body.decode()))
        if form["client_id"] != self.client or form["client_secret"] != self.right:
            return Answer.of(
                {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret"}, 401
            )
        assert form["scope"].split()[0].endswith("/.default") and form["grant_type"] == "client_credentials"
        token = f"eyJ0.token-{self.next()}"
        self.tokens.add(f"Bearer {token}")
        return Answer.of({"access_token": token, "expires_in": 3599, "token_type": "Bearer"})

    def answer(self, request):
        if not self.is_ours(request):
            return self.sign_in(request)
        if request.header("authorization") not in self.tokens:
            return self.error(401, "AuthenticationFailed", "Authentication failed.")
        assert request.query["api-version"] == "2018-05-01"
        root = (
            f"/subscriptions/{self.subscription}/resourceGroups/{self.group}/providers/Microsoft.Network/dnsZones/"
            f"{self.zone}/"
        )
        if not request.place.startswith(root):
            return self.error(404, "ResourceNotFound", "The Resource under resource group was not found.")
        kind, _, name = request.place[len(root) :].partition("/")
        if kind == "recordsets":
            suffix = request.query.get("$recordsetnamesuffix", "")
            return Answer.of({"value": [r for (n, _), r in self.records.items() if n.endswith(suffix)]})
        key = (name, kind)
        if request.method == "GET":
            return Answer.of(self.records[key]) if key in self.records else self.error(404, "NotFound", "not found")
        return self.write(request, key)

    def write(self, request, key):
        stands = self.records.get(key)
        match, none = request.header("if-match"), request.header("if-none-match")
        if (match and (stands is None or match not in ("*", stands["etag"]))) or (none == "*" and stands):
            return self.error(412, "PreconditionFailed", "The precondition was not met.")
        if request.method == "DELETE":
            self.records.pop(key, None)
            return Answer(200 if stands else 204)
        if any(n == key[0] and k != key[1] for n, k in self.records):
            return self.error(400, "BadRequest", "A CNAME record with the same name already exists.")
        properties = {"fqdn": f"{key[0]}.{self.zone}.", "provisioningState": "Succeeded", "targetResource": {}}
        self.records[key] = {
            "id": request.place, "name": key[0], "type": f"Microsoft.Network/dnszones/{key[1]}",
            "etag": f"{self.next():08x}-1111-2222-3333-444444444444",
            "properties": properties | request.json()["properties"],
        }  # fmt: skip
        return Answer.of(self.records[key], 200 if stands else 201)

    def value(self, name="kafka"):
        for found in self.sdk.record_sets.list_by_dns_zone(self.group, self.zone):
            if found.name == name and found.type.endswith("/CNAME"):
                return found.ttl, found.cname_record.cname
        return None

    def put(self, ttl, value, name="kafka"):
        data = {"properties": {"TTL": ttl, "CNAMERecord": {"cname": value}}}
        self.sdk.record_sets.create_or_update(self.group, self.zone, name, "CNAME", data)


KINDS = [PowerDnsApi, Route53, Cloudflare, AliDns, Google, Azure]
