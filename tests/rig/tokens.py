"""Sign-in by OAUTHBEARER for tests: a server of tokens (OAuth 2, client_credentials, JWTs signed with RS256) and a
listener of Kafka's that checks them with Kafka's own validator against the server's JWKS.

server = TokenServer(ca, folder, {"ferry": "its secret"}, lasts_s=3600)
KafkaCluster("a", listeners={"oauth": TokenListener("SASL_SSL", server, ca, cert)})
cluster.secured("oauth").settings(folder)           as a site of Ferry's configuration has them
server.tokens, server.requests, server.fault(html)  what was given, asked; see rig.api
"""

import base64
import json
import shutil
import time
import urllib.parse

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from rig.api import Answer, Api
from rig.secure import Listener, write_secret

AUDIENCE = "kafka"
PACKAGE = "org.apache.kafka.common.security.oauthbearer"


class TokenServer(Api):
    def __init__(self, authority, folder, clients, lasts_s=3600):
        folder.mkdir(parents=True, exist_ok=True)
        self.authority = authority
        self.certificate = authority.certificate("tokens", names=["localhost"])
        self.clients = dict(clients)
        self.lasts_s = lasts_s
        self.tokens = []
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.jwks = folder / "jwks.json"
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        self.jwks.write_text(json.dumps({"keys": [public | {"kid": "1", "use": "sig", "alg": "RS256"}]}))
        super().__init__(self.certificate)

    def stop(self):
        self.__exit__()

    def again(self):
        """At the same place, after stop()."""
        super().__init__(self.certificate, self.port)

    @property
    def token_url(self):
        return f"{self.url}/oauth2/token"

    @property
    def jwks_url(self):
        return f"file://{self.jwks}"

    def claims(self, client, form):
        now = int(time.time())
        return {
            "iss": "rig",
            "aud": AUDIENCE,
            "sub": f"{client}-subject",
            "iat": now,
            "exp": now + self.lasts_s,
            "scope": form.get("scope", ""),
        }

    def sign(self, claims, key=None):
        return jwt.encode(claims, key or self.key, algorithm="RS256", headers={"kid": "1"})

    def answer(self, request):
        form = dict(urllib.parse.parse_qsl(request.body.decode()))
        kind, _, credentials = request.header("authorization").partition(" ")
        client, _, secret = base64.b64decode(credentials).decode().partition(":")
        if request.place != "/oauth2/token" or kind != "Basic" or form.get("grant_type") != "client_credentials":
            return Answer.of({"error": "invalid_request"}, 400)
        if self.clients.get(client) != secret:
            return Answer.of({"error": "invalid_client", "error_description": "no such client, or its secret"}, 401)
        token = self.sign(self.claims(client, form))
        self.tokens.append(token)
        return Answer.of({"access_token": token, "token_type": "Bearer", "expires_in": self.lasts_s})


class TokenListener(Listener):
    """Takes OAUTHBEARER alone. `users`: none of them is made in the cluster."""

    def __init__(self, protocol, server, authority=None, certificate=None, extensions=None, **more):
        super().__init__(protocol, authority, certificate, mechanism="OAUTHBEARER", **more)
        self.server = server
        self.extensions = extensions
        self.flags = [f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={server.jwks_url}"]

    def properties(self, name):
        prefix = f"listener.name.{name.lower()}"
        where = f"{prefix}.oauthbearer"
        props = {key: value for key, value in super().properties(name).items() if "sasl" not in key}
        props |= {
            f"{prefix}.sasl.enabled.mechanisms": "OAUTHBEARER",
            f"{prefix}.sasl.oauthbearer.jwks.endpoint.url": self.server.jwks_url,
            f"{prefix}.sasl.oauthbearer.expected.audience": AUDIENCE,
            f"{prefix}.sasl.oauthbearer.expected.issuer": "rig",
            f"{where}.sasl.jaas.config": f"{PACKAGE}.OAuthBearerLoginModule required;",
            f"{where}.sasl.server.callback.handler.class": f"{PACKAGE}.OAuthBearerValidatorCallbackHandler",
        }
        if self.reauth_ms:
            props[f"{where}.connections.max.reauth.ms"] = self.reauth_ms
        return props

    def sign_in(self, folder, user, mechanism):
        """Of settings(): properties and secrets."""
        client = user or next(iter(self.server.clients))
        secret, authorities = folder / "client-secret", folder / "https-ca.pem"
        write_secret(secret, self.server.clients[client])
        shutil.copy(self.server.authority.pem, authorities)
        kafka = {
            "sasl.mechanism": "OAUTHBEARER",
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.token.endpoint.url": self.server.token_url,
            "sasl.oauthbearer.client.id": client,
            "sasl.oauthbearer.scope": "kafka read+write",
            "https.ca.location": str(authorities),
        }
        if self.extensions:
            kafka["sasl.oauthbearer.extensions"] = self.extensions
        return kafka, {"sasl.oauthbearer.client.secret": {"file": str(secret)}}
