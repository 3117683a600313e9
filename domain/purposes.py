"""Purposes: what a firm uses personal data for, as one tree with its own keys, versions, and the terms of the W3C's vocabulary.

PU1  A key names one purpose for ever; it is never given to another, even when the purpose is retired.
PU2  The tree has no cycle, at most 8 levels and at most 200 purposes.
PU3  Every purpose names a purpose of the Data Privacy Vocabulary (DPV 2.3), so that strangers know what is meant.
PU4  A change of what a purpose says is a new version; consent names the version it was given for.
PU5  A retired purpose can't be asked for or given; it can still be withdrawn. It is retired after those below it.
PU6  Nothing is recorded when nothing changes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NewType, assert_never
from uuid import UUID

from domain.kernel import Invalid, NotFound, Refused, Stream, event

PurposeId = NewType("PurposeId", UUID)

DPV = "https://w3id.org/dpv#"
DEEPEST = 8
MOST = 200

DPV_PURPOSES = frozenset(
    """
AcademicResearch AccountManagement Advertising AgeVerification CombatClimateChange CommercialPurpose CommercialResearch
CommunicationForCustomerCare CommunicationManagement CounterMoneyLaundering Counterterrorism CustomerCare
CustomerClaimsManagement CustomerManagement CustomerOrderManagement CustomerRelationshipManagement
CustomerSolvencyMonitoring DataAltruism DeliveryOfGoods DirectMarketing DisputeManagement EnforceAccessControl
EnforceSecurity EstablishContractualAgreement FraudPreventionAndDetection FulfilmentOfContractualObligation
FulfilmentOfObligation HumanResourceManagement IdentityAuthentication IdentityVerification
ImproveExistingProductsAndServices ImproveHealthcare ImproveInternalCRMProcesses ImprovePublicServices
ImproveTransportMobility IncreaseServiceRobustness InternalResourceOptimisation LegalCompliance MaintainFraudDatabase
Marketing MemberPartnerManagement MisusePreventionAndDetection NonCommercialPurpose NonCommercialResearch
OptimisationForConsumer OptimisationForController OptimiseUserInterface OrganisationComplianceManagement
OrganisationGovernance OrganisationRiskManagement PaymentManagement Personalisation PersonalisedAdvertising
PersonalisedBenefits PersonnelBehaviourMonitoring PersonnelHiring PersonnelManagement PersonnelMonitoring
PersonnelOffboarding PersonnelOnboarding PersonnelPayment PersonnelPerformanceEvaluation PersonnelPerformanceManagement
PersonnelPerformanceMonitoring PersonnelPerformancePrediction PersonnelPromotionManagement
PersonnelTerminationManagement PersonnelWorkloadManagement PoliticalCampaign ProtectionOfIPR
ProtectionOfNationalSecurity ProtectionOfPublicSecurity ProvideEventRecommendations ProvideOfficialStatistics
ProvidePersonalisedRecommendations ProvideProductRecommendations PublicBenefit PublicPolicyMaking PublicRelations
RecordManagement RecruitmentAdvertising RecruitmentApplicantBackgroundCheck RecruitmentApplicantCriminalBackgroundCheck
RecruitmentApplicantInformationAuthentication RecruitmentApplicantSelection RecruitmentApplicationAnalysis
RecruitmentApplicationManagement RecruitmentApplicationScreening RecruitmentInterviewAnalysis
RecruitmentInterviewAssessment RecruitmentInterviewManagement RecruitmentInterviewScheduling RecruitmentManagement
RecruitmentTargetedAdvertising RepairImpairments RequestedServiceProvision ResearchAndDevelopment RightsFulfilment
ScientificResearch SearchFunctionalities SellDataToThirdParties SellInsightsFromData SellProducts
SellProductsToDataSubject ServiceAccessDetermination ServiceManagement ServiceMonitoring ServiceOptimisation
ServicePersonalisation ServiceProvision ServiceRegistration ServiceUsageAnalytics SocialMediaMarketing
TargetedAdvertising TechnicalServiceProvision UserInterfacePersonalisation VendorManagement VendorPayment
VendorRecordsManagement VendorSelectionAssessment Verification
    """.split()  # noqa: SIM905 - a hundred quoted names are harder to read
)
"""The names of DPV 2.3's purposes: facts of a public vocabulary, compared with it by a test."""

SALE_OR_SHARING = frozenset({"SellDataToThirdParties", "SellInsightsFromData", "TargetedAdvertising", "PersonalisedAdvertising"})
"""Purposes that are a sale of personal data, or its sharing for cross-context behavioural advertising (Cal. Civ. Code 1798.140)."""

# --- events


@event("purposes.Defined.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class PurposeDefined:
    purpose: PurposeId
    key: str
    name: str
    dpv: str
    description: str | None = None
    parent: PurposeId | None = None
    purpose_version: int = 1


@event("purposes.Amended.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class PurposeAmended:
    """The whole text of the new version."""

    purpose: PurposeId
    purpose_version: int
    name: str
    dpv: str
    description: str | None = None


@event("purposes.Moved.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class PurposeMoved:
    purpose: PurposeId
    parent: PurposeId | None = None


@event("purposes.Retired.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class PurposeRetired:
    purpose: PurposeId


Event = PurposeDefined | PurposeAmended | PurposeMoved | PurposeRetired

# --- state


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    id: PurposeId
    key: str
    name: str
    dpv: str
    description: str | None = None
    parent: PurposeId | None = None
    version: int = 1
    retired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A firm's purposes. `keys` finds them by key."""

    purposes: Mapping[PurposeId, Purpose] = field(default_factory=dict)
    keys: Mapping[str, PurposeId] = field(default_factory=dict)


# --- refusals


class NoSuchPurpose(NotFound):
    """The firm has no purpose of this name. Define it first, or look at the list of purposes."""


class KeyTaken(Refused):
    """The key belongs to another purpose, perhaps a retired one, and is never reused: consent names it. Choose another."""


class NotInVocabulary(Invalid):
    """This is no purpose of DPV 2.3. Name the nearest one, such as https://w3id.org/dpv#DirectMarketing."""


class PurposeIsRetired(Refused):
    """The purpose is retired: no consent is asked for or given for it, and it does not change. It can still be withdrawn."""


class PurposeCycle(Refused):
    """A purpose can't stand below itself. Choose a parent outside its own branch."""


class TreeTooDeep(Refused):
    """A tree of purposes has at most 8 levels, so that people can still read it. Choose a parent further up."""


class TooManyPurposes(Refused):
    """A firm has at most 200 purposes, retired ones included. Amend one that is there."""


class HasPurposesBelow(Refused):
    """There are purposes below this one. Retire or move them first."""


# --- decisions


def define(
    tree: Tree, *, id: PurposeId, key: str, name: str, dpv: str, description: str | None = None, parent: PurposeId | None = None
) -> list[Event]:
    _in_vocabulary(dpv)
    if key in tree.keys:
        raise KeyTaken(key=key)
    if len(tree.purposes) >= MOST:
        raise TooManyPurposes
    if parent is not None:
        _live(tree, parent)
        if len(_path(tree, parent)) >= DEEPEST:
            raise TreeTooDeep
    return [PurposeDefined(purpose=id, key=key, name=name, dpv=dpv, description=description, parent=parent)]


def amend(tree: Tree, *, id: PurposeId, name: str, dpv: str, description: str | None) -> list[Event]:
    purpose = _live(tree, id)
    _in_vocabulary(dpv)
    if (purpose.name, purpose.dpv, purpose.description) == (name, dpv, description):
        return []
    return [PurposeAmended(purpose=id, purpose_version=purpose.version + 1, name=name, dpv=dpv, description=description)]


def move(tree: Tree, *, id: PurposeId, parent: PurposeId | None) -> list[Event]:
    purpose = _live(tree, id)
    if parent == purpose.parent:
        return []
    if parent is not None:
        _live(tree, parent)
        path = _path(tree, parent)
        if id in path:
            raise PurposeCycle(keys=[tree.purposes[i].key for i in path[: path.index(id) + 1]])
        if len(path) + _height(tree, id) > DEEPEST:
            raise TreeTooDeep
    return [PurposeMoved(purpose=id, parent=parent)]


def retire(tree: Tree, *, id: PurposeId) -> list[Event]:
    purpose = _known(tree, id)
    if purpose.retired:
        return []
    below = sorted(p.key for p in tree.purposes.values() if p.parent == id and not p.retired)
    if below:
        raise HasPurposesBelow(keys=below)
    return [PurposeRetired(purpose=id)]


def pick(tree: Tree, keys: Iterable[str]) -> tuple[Purpose, ...]:
    """The purposes that are asked for or given: each known and not retired, once, in the order named."""
    return tuple(_live(tree, _named(tree, key)) for key in dict.fromkeys(keys))


def below(tree: Tree, keys: Iterable[str]) -> tuple[Purpose, ...]:
    """The purposes named and all below them, retired ones too: what a withdrawal covers. No key at all means the whole tree."""
    wanted = {_named(tree, key) for key in keys}
    return tuple(p for id, p in tree.purposes.items() if not wanted or not wanted.isdisjoint(_path(tree, id)))


def sold(tree: Tree) -> tuple[Purpose, ...]:
    """The purposes that sell or share personal data in the sense of the CCPA, and all below them: what a Global Privacy Control signal
    opts out of."""
    roots = [p.key for p in tree.purposes.values() if p.dpv.removeprefix(DPV) in SALE_OR_SHARING]
    return below(tree, roots) if roots else ()


def known(tree: Tree, keys: Iterable[str]) -> tuple[Purpose, ...]:
    """The purposes named, retired ones included."""
    return tuple(tree.purposes[_named(tree, key)] for key in dict.fromkeys(keys))


def _named(tree: Tree, key: str) -> PurposeId:
    if key not in tree.keys:
        raise NoSuchPurpose(key=key)
    return tree.keys[key]


def _known(tree: Tree, id: PurposeId) -> Purpose:
    if id not in tree.purposes:
        raise NoSuchPurpose(id=str(id))
    return tree.purposes[id]


def _live(tree: Tree, id: PurposeId) -> Purpose:
    purpose = _known(tree, id)
    if purpose.retired:
        raise PurposeIsRetired(key=purpose.key)
    return purpose


def _in_vocabulary(dpv: str) -> None:
    if dpv.removeprefix(DPV) not in DPV_PURPOSES or not dpv.startswith(DPV):
        raise NotInVocabulary(dpv=dpv)


def _path(tree: Tree, id: PurposeId) -> list[PurposeId]:
    """From a purpose up to its root, itself first."""
    path = [id]
    while (parent := tree.purposes[path[-1]].parent) is not None:
        path.append(parent)
    return path


def _height(tree: Tree, id: PurposeId) -> int:
    return max(path.index(id) + 1 for other in tree.purposes if id in (path := _path(tree, other)))


# --- evolve


def evolve(tree: Tree, e: Event) -> Tree:
    match e:
        case PurposeDefined():
            purpose = Purpose(id=e.purpose, key=e.key, name=e.name, dpv=e.dpv, description=e.description, parent=e.parent)
            tree = replace(tree, keys={**tree.keys, e.key: e.purpose})
        case PurposeAmended():
            purpose = replace(
                tree.purposes[e.purpose], version=e.purpose_version, name=e.name, dpv=e.dpv, description=e.description
            )
        case PurposeMoved():
            purpose = replace(tree.purposes[e.purpose], parent=e.parent)
        case PurposeRetired():
            purpose = replace(tree.purposes[e.purpose], retired=True)
        case _:
            assert_never(e)
    return replace(tree, purposes={**tree.purposes, e.purpose: purpose})


PURPOSES = Stream("purposes", Tree(), evolve)
