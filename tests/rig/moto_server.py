"""moto's server, with change batches of Route 53 as the real one has them.

moto 5.2.5 compares a DELETE with everything that was ever created under the name, and refuses a CREATE that was made
once before, whatever stands there now. Here both are compared with what stands there, all or nothing.

python -m rig.moto_server -H HOST -p PORT
"""

from moto.core.exceptions import ServiceException
from moto.route53 import models
from moto.server import main


class InvalidChangeBatch(ServiceException):
    code = "InvalidChangeBatch"


def leads(alias):
    """What an alias is, in its DELETE too: where to, in which zone, and whether by its target's health."""
    if not alias:
        return None
    healthy = str(alias.get("EvaluateTargetHealth")).lower() == "true"
    return (alias["HostedZoneId"], alias["DNSName"].strip(".").lower(), healthy)


def text(rrset, values):
    alias = leads(rrset.get("AliasTarget"))
    return (rrset["Type"], rrset.get("SetIdentifier"), str(rrset.get("TTL")), tuple(sorted(values)), alias)


def standing(zone, name):
    return {
        (
            rrset.type,
            rrset.set_identifier,
            str(rrset.ttl),
            tuple(sorted(rrset.records or [])),
            leads(rrset.alias_target),
        )
        for rrset in zone.rrsets
        if rrset.name.strip(".") == name
    }


original = models.Route53Backend.change_resource_record_sets


def change_resource_record_sets(self, zoneid, change_list):
    zone = self.get_hosted_zone(zoneid)
    now = {}
    zone.rr_changes.clear()
    for change in change_list:
        rrset = change["ResourceRecordSet"]
        name = rrset["Name"].strip(".")
        stands = now.setdefault(name, standing(zone, name))
        one = text(rrset, [record["Value"] for record in rrset.get("ResourceRecords", [])])
        if change["Action"] == "DELETE":
            if one not in stands:
                raise InvalidChangeBatch(
                    f"[Tried to delete resource record set [name='{name}.', type='{one[0]}'] but the values provided "
                    "do not match the current values]"
                )
            stands.discard(one)
            zone.rr_changes.append({"Action": "UPSERT", "ResourceRecordSet": dict(rrset)})
        elif change["Action"] == "CREATE":
            if any(other[:2] == one[:2] for other in stands):
                raise InvalidChangeBatch(
                    f"[Tried to create resource record set [name='{name}.', type='{one[0]}'] but it already exists]"
                )
            stands.add(one)
    return original(self, zoneid, change_list)


models.Route53Backend.change_resource_record_sets = change_resource_record_sets

if __name__ == "__main__":
    main()
