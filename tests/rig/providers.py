"""Providers of DNS for tests: the real server where there is one, else a stand-in that the provider's own SDK is run against.

service = Route53(authority, folder, zone="dr.test")     with the record `kafka` in its zone, and another one
service.settings()               the zone's part of a configuration
service.value(), .put(30, "x")   (TTL, value) as the SDK sees it; somebody else's change, by the SDK
service.api                      rig.api.Api before it: faults, requests
"""

import sys
import urllib.request

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials

from rig.api import Answer, Api, forward
from rig.nameserver import PowerDns
from rig.paths import RIG
from rig.procs import Process, free_port, wait_for

TTL = 30


class Service:
    """One zone with a provider. Subclasses fill in `api`, `keys()`, `value()`, `put()`."""

    kind = "?"
    secret = "a-secret-that-nobody-sees"
    wrong_secret = "another-secret"
    compares = True  # the provider itself
    requests_a_change = 1

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
            "request_timeout": "4s",
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


# --- Route 53: moto, which checks signatures of changes; the front checks those of every request -------------------------


def sigv4(request, key, secret, region="us-east-1"):
    """The signature of a request by botocore's own signer."""
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
        policy = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "route53:*", "Resource": "*"}]}'
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

    def checked(self, request, pending):
        if self.access_key not in request.header("authorization"):
            return self.error(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
        ours, theirs = sigv4(request, self.access_key, self.true_secret)
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
