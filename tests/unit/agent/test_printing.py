import dataclasses
import itertools
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

import sample_documents as sample
from corpus import meshes
from platemark.agent.disclosing import detail_of, receipt_of
from platemark.agent.job import Body
from platemark.agent.printers.printing import Printer, PrintRun, Progress
from platemark.agent.printers.simulated import SimulatedPrinter, simulated_printers
from platemark.agent.printing import Note, PrintingAgent, Stage
from platemark.agent.slicers.basic import BasicSlicer
from platemark.agent.spool import Spool
from platemark.errors import LocalError, RefusedError, UpstreamError, VerificationError
from platemark.geometry.part import PART_NAME, load_part
from platemark.geometry.stl import write_stl
from platemark.protocol.cid import Cid, Codec
from platemark.protocol.content_key import ContentKey, KeyPackage
from platemark.protocol.digests import sha256
from platemark.protocol.jws import SigningKey
from platemark.protocol.license_terms import Protection
from platemark.protocol.manifest import Constraints, Process
from platemark.protocol.outcome import Result
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.receipt import Material, Receipt, Source
from platemark.protocol.units import Digest32
from simulators.print_desk import FixedClock, World, make_world

CUBE = write_stl(meshes.cube())
LID = write_stl(meshes.cube(6.0))


class Killed(BaseException):
    """The process dies here."""


def die() -> None:
    raise Killed


@pytest.fixture
def world() -> World:
    return make_world([("cube.stl", CUBE)])


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def agent_of(world: World, spool: Spool, **changes: object) -> PrintingAgent:
    counter = itertools.count(1)
    spool.add(world.record)
    made = PrintingAgent(
        spool=spool,
        seed=world.seed,
        desk=world,
        blocks=world.blocks,
        chain=world,
        profiles=[sample.PROFILE],
        printers=dict(simulated_printers()),
        slicers=[BasicSlicer()],
        clock=FixedClock(),
        random_bytes=lambda size: bytes([next(counter)]) * size,
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def clogged(at: float = 0.4) -> dict[str, Printer]:
    ada, grace = simulated_printers().values()
    return {"ada": dataclasses.replace(ada, fail_at=at), "grace": grace}


def test_a_print_ends_with_a_countersigned_receipt_of_what_was_done(world: World, spool: Spool) -> None:
    notes: list[Note] = []
    agent = agent_of(world, spool, tell=notes.append)
    made, reported = agent.print_one(world.record.token_id, ["ada"], material=Material("PLA", "lot 7"))
    assert made.complete
    assert reported is not None
    receipt = Receipt.parse(reported.receipt.statement)
    assert receipt.serial == reported.serial == made.serial
    assert receipt.result is Result.COMPLETED
    assert [item.result for item in receipt.objects] == [Result.COMPLETED]
    assert receipt.slicer == "platemark-basic"
    assert receipt.profile_sha256 == BasicSlicer().profile_digest
    grams = receipt.quantities.in_part
    assert grams.source is Source.PRINTER
    assert grams.value is not None
    assert Decimal("0.3") < grams.value < Decimal("1.3")
    assert receipt.quantities.energy.source is Source.NONE
    assert receipt.quantities.failed.value == 0
    assert receipt.material == Material("PLA", "lot 7")
    assert world.released == 1
    stages = [stage for stage, _ in itertools.groupby(note.stage for note in notes)]
    assert stages == [
        *(Stage.PREPARED, Stage.REDEEMED, Stage.OPENED, Stage.SLICED, Stage.PRINTING),
        *(Stage.ENDED, Stage.REPORTED),
    ]


def test_the_shipped_part_prints_on_its_profile(spool: Spool) -> None:
    world = make_world([(PART_NAME, load_part())], private=True)
    made, reported = agent_of(world, spool).print_one(world.record.token_id, ["grace"])
    assert made.complete
    assert reported is not None
    assert reported.result is Result.COMPLETED


def test_a_product_of_several_bodies_is_made_body_by_body(spool: Spool) -> None:
    world = make_world([("box.stl", CUBE), ("lid.stl", LID)], quantities=(1, 2), turns=((0, 0, 0), (90, 0, 0)))
    _, reported = agent_of(world, spool).print_one(world.record.token_id, ["ada"])
    assert reported is not None
    receipt = Receipt.parse(reported.receipt.statement)
    assert [(item.part, item.index) for item in receipt.objects] == [("box", 0), ("lid", 0), ("lid", 1)]
    assert len(receipt.attempts) == 1
    assert world.released == 1


def test_a_failed_print_moves_to_another_printer_with_the_same_release(world: World, spool: Spool) -> None:
    agent = agent_of(world, spool, printers=clogged())
    made, reported = agent.print_one(world.record.token_id, ["ada", "grace"])
    assert made.complete
    assert reported is not None
    receipt = Receipt.parse(reported.receipt.statement)
    assert [(attempt.printer.name, attempt.result) for attempt in receipt.attempts] == [
        ("ada", Result.FAILED),
        ("grace", Result.COMPLETED),
    ]
    assert receipt.attempts[0].reason == "the nozzle is clogged"
    failed, kept = receipt.quantities.failed.value, receipt.quantities.in_part.value
    assert failed is not None
    assert kept is not None
    assert failed == pytest.approx(kept * Decimal("0.4"), abs=Decimal("0.01"))
    assert world.released == 1


def test_only_the_bodies_that_failed_are_tried_again(spool: Spool) -> None:
    world = make_world([("box.stl", CUBE), ("lid.stl", LID)], quantities=(1, 2))
    calls: list[int] = []

    class FailsOnce(SimulatedPrinter):
        def print(self, gcode: bytes, *, on_progress: Callable[[Progress], None], stop: Callable[[], bool]) -> PrintRun:
            calls.append(len(gcode))
            printer = dataclasses.replace(simulated_printers()["ada"], fail_at=0.5 if len(calls) == 2 else None)
            return printer.print(gcode, on_progress=on_progress, stop=stop)

    printer = FailsOnce("ada", simulated_printers()["ada"].volume_mm)
    made, reported = agent_of(world, spool, printers={"ada": printer}).print_one(world.record.token_id, ["ada"])
    assert made.complete
    assert len(calls) == 4  # box, a lid that fails; the lid again, the other lid
    assert reported is not None
    assert len(Receipt.parse(reported.receipt.statement).attempts) == 2


def test_a_print_that_fails_everywhere_uses_a_spare_and_the_next_one_is_redeemed(world: World, spool: Spool) -> None:
    agent = agent_of(world, spool, printers=clogged())
    made, reported = agent.print_one(world.record.token_id, ["ada"], attempts=2)
    assert not made.complete
    assert reported is not None
    assert reported.result is Result.FAILED
    assert reported.spare_used
    in_part = Receipt.parse(reported.receipt.statement).quantities.in_part
    assert (in_part.value, in_part.source) == (Decimal(0), Source.PRINTER)  # nothing is a measurement too
    for _ in range(3):
        _, reported = agent.print_one(world.record.token_id, ["grace"])
        assert reported is not None
        assert reported.result is Result.COMPLETED
    assert world.released == 4
    with pytest.raises(RefusedError) as refused:
        agent.print_one(world.record.token_id, ["grace"])
    assert refused.value.code == "count-spent"


def test_a_print_can_wait_for_inspection_and_be_rejected(world: World, spool: Spool) -> None:
    agent = agent_of(world, spool)
    made, reported = agent.print_one(world.record.token_id, ["ada"], inspect=True)
    assert reported is None
    job = agent.prepare(world.record.token_id, ["ada"])
    answer = agent.report(world.record.token_id, made.sequence, Result.REJECTED, job=job)
    receipt = Receipt.parse(answer.receipt.statement)
    assert receipt.result is Result.REJECTED
    assert [item.result for item in receipt.objects] == [Result.REJECTED]
    with pytest.raises(RefusedError) as refused:
        agent.report(world.record.token_id, made.sequence, Result.COMPLETED, job=job)
    assert refused.value.code == "outcome-final"


def test_a_print_after_a_recall_is_refused_with_the_owners_reason_where_it_is_at_hand(
    world: World, spool: Spool
) -> None:
    agent, reason = agent_of(world, spool), b"The hook\n breaks."
    world.recalled = sha256(reason)
    said = []
    for blocks in ({}, {Cid(Codec.RAW, world.recalled): b"another text"}, {Cid(Codec.RAW, world.recalled): reason}):
        world.blocks.blocks.update(blocks)
        with pytest.raises(VerificationError) as refused:
            agent.print_one(world.record.token_id, ["ada"])
        assert refused.value.code == "revision-recalled"
        said.append(str(refused.value))
    assert said == ["no longer"] * 2 + ["revision 1 was recalled; the reason in its owner's words: “The hook breaks.”"]
    assert world.released == 0


def test_an_outcome_after_inspection_names_the_material_that_was_printed(world: World, spool: Spool) -> None:
    agent, token_id = agent_of(world, spool), world.record.token_id
    receipts = []
    for stated in (None, Material("PETG", "L-8")):
        made, _ = agent.print_one(token_id, ["ada"], material=Material("PLA", "L-7"), inspect=True)
        later = agent_of(world, spool)
        answer = later.report(token_id, made.sequence, Result.COMPLETED, job=later.product(token_id, material=stated))
        receipts.append(Receipt.parse(answer.receipt.statement).material)
    assert receipts == [Material("PLA", "L-7"), Material("PETG", "L-8")]


def test_what_waits_for_inspection_is_not_reported_by_the_next_run(world: World, spool: Spool) -> None:
    agent, token_id = agent_of(world, spool), world.record.token_id
    made, _ = agent.print_one(token_id, ["ada"], inspect=True)
    for inspect in (False, True):
        with pytest.raises(RefusedError) as refused:
            agent.print_one(token_id, ["ada"], inspect=inspect)
        assert refused.value.code == "outcome-missing"
        assert refused.value.hint is not None
        assert f"--print {made.sequence} --result completed" in refused.value.hint
    assert world.released == made.sequence, "nothing new was redeemed"
    agent.report(token_id, made.sequence, Result.REJECTED, job=agent.prepare(token_id, ["ada"]))
    later, reported = agent.print_one(token_id, ["ada"])
    assert reported is not None
    assert (later.sequence, reported.result) == (made.sequence + 1, Result.COMPLETED)


def test_a_print_whose_receipt_was_erased_is_not_reported_again(world: World, spool: Spool) -> None:
    agent, token_id = agent_of(world, spool), world.record.token_id
    made, _ = agent.print_one(token_id, ["ada"], references=["the order of Anna"])
    use, machine_key = spool.machine(token_id).use(made.sequence), world.record.reservation.agent
    detail, receipt = detail_of(use), receipt_of(use, machine_key)
    assert detail.intended.references == ("the order of Anna",)
    assert detail.intended.digest(detail.salt) == use.request.signed.request.detail
    assert Receipt.parse(receipt.envelope.statement).sequence == made.sequence
    assert spool.erase(token_id, made.sequence)
    use = spool.machine(token_id).use(made.sequence)
    for opening in (lambda: detail_of(use), lambda: receipt_of(use, machine_key)):
        with pytest.raises(RefusedError) as refused:
            opening()
        assert refused.value.code == "not-kept"
    job = agent.prepare(token_id, ["ada"])
    for result, code in ((Result.COMPLETED, "receipt-erased"), (Result.FAILED, "outcome-final")):
        with pytest.raises(RefusedError) as refused:
            agent.report(token_id, made.sequence, result, job=job)
        assert refused.value.code == code
    assert agent.resend(token_id) == []
    again, _ = agent.print_one(token_id, ["ada"])
    assert again.sequence == made.sequence + 1


def test_what_was_not_made_is_not_reported_as_completed(world: World, spool: Spool) -> None:
    agent = agent_of(world, spool)
    job = agent.prepare(world.record.token_id, ["ada"])
    with agent.claimed_use(job, ["ada"]) as use:
        pass
    with pytest.raises(RefusedError) as refused:
        agent.report(world.record.token_id, use.sequence, Result.COMPLETED, job=job)
    assert refused.value.code == "print-incomplete"
    agent.report(world.record.token_id, use.sequence, Result.CANCELLED, job=job)


# --- before anything is counted


def _damage_ciphertext(world: World) -> None:
    world.blocks.damage(world.manifest.files[0].sealed_cid)


def _lose_ciphertext(world: World) -> None:
    del world.blocks.blocks[world.manifest.files[0].sealed_cid]


def _damage_manifest(world: World) -> None:
    world.blocks.damage(world.manifest.cid())


def _damage_terms(world: World) -> None:
    (cid,) = [cid for cid in world.blocks.blocks if cid.digest == world.terms.terms_digest]
    world.blocks.damage(cid)


def _other_terms(world: World) -> None:
    world.terms = replace(world.terms, cap=1_000_000)


def _other_registration(world: World) -> None:
    registered = world.revision(world.record.token().design_id, 1)
    world.revision = lambda *_: replace(registered, manifest_digest=Digest32(bytes(32)))  # type: ignore[method-assign]


@pytest.mark.parametrize(
    "harm, code",
    [
        (_damage_ciphertext, "block-mismatch"),
        (_lose_ciphertext, "block-unavailable"),
        (_damage_manifest, "block-mismatch"),
        (_damage_terms, "block-mismatch"),
        (_other_terms, "license-digest"),
        (_other_registration, "manifest-digest"),
    ],
)
def test_what_was_altered_or_lost_is_noticed_before_anything_is_counted(
    world: World, spool: Spool, harm: Callable[[World], None], code: str
) -> None:
    harm(world)
    agent = agent_of(world, spool)
    with pytest.raises((VerificationError, UpstreamError)) as refused:
        agent.print_one(world.record.token_id, ["ada"])
    assert refused.value.code == code
    assert not world.sent
    assert agent.spool.machine(world.record.token_id).pending is None


@pytest.mark.parametrize("position", [0, 1, 40, 41, 500, -17, -1])
def test_a_flipped_byte_of_a_ciphertext_whose_block_lies_is_noticed(world: World, spool: Spool, position: int) -> None:
    cid = world.manifest.files[0].sealed_cid
    data = bytearray(world.blocks.blocks[cid])
    data[position] ^= 0x40
    world.blocks.blocks[cid] = bytes(data)
    with pytest.raises(VerificationError):
        agent_of(world, spool).print_one(world.record.token_id, ["ada"])
    assert not world.sent


def _tiny() -> dict[str, Printer]:
    return {"ada": SimulatedPrinter("ada", (Decimal(9), Decimal(50), Decimal(50)))}


def _leaky() -> dict[str, Printer]:
    class KeepsFiles(SimulatedPrinter):
        keeps = frozenset({Protection.FILE})

    return {"ada": KeepsFiles("ada", simulated_printers()["ada"].volume_mm)}


@pytest.mark.parametrize(
    "changes, code",
    [
        ({"printers": _tiny()}, "part-does-not-fit"),
        ({"printers": _leaky()}, "protection-not-kept"),
        ({"slicers": []}, "protection-not-kept"),
        ({"clock": FixedClock(sample.NOW + 14 * 86_400 - 3600)}, "token-expired"),
        ({"clock": FixedClock(sample.NOW - 1)}, "token-not-yet"),
    ],
)
def test_what_this_centre_cannot_do_is_refused_before_anything_is_counted(
    world: World, spool: Spool, changes: dict[str, object], code: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        agent_of(world, spool, **changes).print_one(world.record.token_id, ["ada"])
    assert refused.value.code == code
    assert not world.sent


@pytest.mark.parametrize(
    "constraints, material, code",
    [
        (Constraints(Process.SLS), None, "process-not-offered"),
        (Constraints(Process.FDM, supports=True), None, "supports-not-made"),
        (Constraints(Process.FDM, nozzle_mm=Decimal("0.25")), None, "nozzle-too-large"),
        (Constraints(Process.FDM, materials=("PETG",)), None, "material-unknown"),
        (Constraints(Process.FDM, materials=("PETG",)), Material("PLA"), "material-not-allowed"),
    ],
)
def test_constraints_are_kept_or_the_print_is_refused(
    spool: Spool, constraints: Constraints, material: Material | None, code: str
) -> None:
    world = make_world([("cube.stl", CUBE)], constraints=constraints)
    with pytest.raises(RefusedError) as refused:
        agent_of(world, spool).print_one(world.record.token_id, ["ada"], material=material)
    assert refused.value.code == code
    assert not world.sent


def test_a_part_fits_as_it_lies_not_as_its_file_has_it(spool: Spool) -> None:
    tall = meshes.cube()
    tall.vertices[:, 2] *= 6
    printers = {"ada": SimulatedPrinter("ada", (Decimal(70), Decimal(50), Decimal(50)))}
    lying = make_world([("bar.stl", write_stl(tall))], turns=((0, 90, 0),))
    made, _ = agent_of(lying, spool, printers=printers).print_one(lying.record.token_id, ["ada"])
    assert made.complete


# --- a gateway that lies


def _other_key(package: KeyPackage) -> KeyPackage:
    return replace(package, key=ContentKey(bytes(32)))


def _other_salt(package: KeyPackage) -> KeyPackage:
    return replace(package, salt=bytes(32))


@pytest.mark.parametrize(
    "lie, code",
    [
        ({"change_package": _other_key}, "key-commitment"),
        ({"change_package": _other_salt}, "commitment"),
        ({"change_release": lambda r: replace(r, leaf_hash=Digest32(bytes(32)))}, "release-mismatch"),
        ({"change_release": lambda r: replace(r, sequence=2)}, "release-mismatch"),
        ({"change_release": lambda r: replace(r, print_id=bytes(16))}, "release-mismatch"),
        ({"change_release": lambda r: replace(r, manifest_digest=Digest32(bytes(32)))}, "release-mismatch"),
        ({"change_release": lambda r: replace(r, origin="1/x/y/1")}, "release-mismatch"),
        ({"change_release": lambda r: replace(r, profile_digest=Digest32(bytes(32)))}, "release-mismatch"),
    ],
)
def test_a_release_that_lies_is_kept_and_nothing_is_printed(
    world: World, spool: Spool, lie: dict[str, object], code: str
) -> None:
    world = replace(world, **lie)  # type: ignore[arg-type]
    agent = agent_of(world, spool)
    with pytest.raises(VerificationError) as refused:
        agent.print_one(world.record.token_id, ["ada"])
    assert refused.value.code == code
    (use,) = agent.spool.machine(world.record.token_id)
    assert use.answer is not None
    assert not agent.spool.attempts(world.record.token_id, 1)


def _key(number: int) -> SigningKey:
    return SigningKey(bytes([number]) * 32)


def _rotated(number: int) -> GatewayProfile:
    return replace(sample.PROFILE, release_key=_key(number).public_bytes)


@pytest.mark.parametrize("rotations", [1, 2])
def test_an_answer_that_is_older_than_rotations_is_printed_and_reported(
    world: World, spool: Spool, rotations: int
) -> None:
    issued = replace(world.record.token(), profile_digest=_rotated(9).digest())
    world.record = replace(world.record, text=issued.sign(_key(9)), profile=_rotated(9))
    world.blocks.blocks[Cid(Codec.RAW, sample.PROFILE.digest())] = sample.PROFILE.encode()
    world.declared = ((_rotated(9), 1), (sample.PROFILE, 10))
    agent = agent_of(world, spool, profiles=[])
    later = [(_rotated(number), 20 + number) for number in range(rotations)]
    world.after_count = lambda: setattr(world, "declared", (*world.declared, *later))
    made, reported = agent.print_one(world.record.token_id, ["ada"])
    assert made.complete
    assert reported is not None


def test_a_release_by_a_key_that_was_replaced_before_it_was_asked_for_is_kept_and_not_opened(
    world: World, spool: Spool
) -> None:
    seen = world.final_block().number
    world.declared = ((sample.PROFILE, 1), (_rotated(9), seen - 1))
    agent = agent_of(world, spool)
    with pytest.raises(VerificationError) as refused:
        agent.print_one(world.record.token_id, ["ada"])
    assert refused.value.code == "profile-replaced"
    (use,) = agent.spool.machine(world.record.token_id)
    assert use.answer is not None
    assert not agent.spool.attempts(world.record.token_id, 1)


def test_a_promise_of_another_outcome_is_not_taken(world: World, spool: Spool) -> None:
    world.change_promise = lambda promise: replace(promise, leaf_hash=Digest32(bytes(32)))
    agent = agent_of(world, spool)
    with pytest.raises(VerificationError) as refused:
        agent.print_one(world.record.token_id, ["ada"])
    assert refused.value.code == "promise-mismatch"
    assert agent.spool.machine(world.record.token_id).unacknowledged


def test_a_gateway_that_expects_more_than_was_asked_for_gets_no_signature(world: World, spool: Spool) -> None:
    agent = agent_of(world, spool)
    agent.print_one(world.record.token_id, ["ada"])
    stolen = replace(world.requests[0].request, sequence=2, print_id=bytes(16))
    key = world.record.agent_key(world.seed)
    world.requests.append(stolen.sign(key, world.record.domain))
    world.answers.append(world.answers[0])
    with pytest.raises(VerificationError) as refused:
        agent.print_one(world.record.token_id, ["ada"])
    assert refused.value.code == "sequence-ahead"
    assert len(agent.spool.machine(world.record.token_id).pending.body) > 0  # type: ignore[union-attr]


def test_a_gateway_restored_from_a_backup_is_given_the_same_requests_and_outcomes_again(
    world: World, spool: Spool
) -> None:
    agent = agent_of(world, spool)
    for _ in range(2):
        agent.print_one(world.record.token_id, ["ada"])
    first, reports, outcomes = list(world.sent), dict(world.reports), dict(world.outcomes)
    assert spool.erase(world.record.token_id, 1)
    world.requests, world.answers, world.outcomes, world.reports = [], [], {}, {}
    _, reported = agent.print_one(world.record.token_id, ["ada"])
    assert reported is not None
    assert world.sent[3:5] == first
    assert world.released == 3
    assert (world.reports[2], world.outcomes[2]) == (reports[2], outcomes[2])
    assert 1 not in world.outcomes


def test_a_gateway_that_lost_an_outcome_alone_is_given_it_again(world: World, spool: Spool) -> None:
    agent = agent_of(world, spool)
    (first, once), (_, twice) = (agent.print_one(world.record.token_id, ["ada"]) for _ in range(2))
    reports = dict(world.reports)
    world.outcomes, world.reports = {}, {}
    job = agent.prepare(world.record.token_id, ["ada"])
    assert agent.report(world.record.token_id, first.sequence, Result.COMPLETED, job=job) == once
    assert list(world.reports) == [first.sequence]
    assert agent.resend(world.record.token_id) == [once, twice]
    assert world.reports == reports
    assert world.permitted == [(world.record.reservation, world.record.holder_signature)]


# --- dying


def _after(count: int) -> Callable[[], None]:
    calls = itertools.count(1)

    def hook() -> None:
        if next(calls) == count:
            raise Killed

    return hook


@pytest.mark.parametrize("moment", ["before_count", "after_count"])
@pytest.mark.parametrize("step", [1, 2])
def test_an_agent_that_dies_around_a_call_goes_on_with_the_same_bytes(
    world: World, spool: Spool, moment: str, step: int
) -> None:
    setattr(world, moment, _after(step))
    with pytest.raises(Killed):
        agent_of(world, spool).print_one(world.record.token_id, ["ada"])
    setattr(world, moment, lambda: None)
    spool.close()
    again = Spool(spool.folder)
    agent = agent_of(world, again)
    if step == 1:
        _, reported = agent.print_one(world.record.token_id, ["ada"])
        assert reported is not None
    else:
        (reported,) = agent.resend(world.record.token_id)
    assert reported.result is Result.COMPLETED
    assert world.released == 1
    assert len(set(world.sent)) == 1


def test_an_agent_that_dies_while_printing_prints_the_same_release_again(world: World, spool: Spool) -> None:
    def tell(note: Note) -> None:
        if note.stage is Stage.PRINTING:
            raise Killed

    with pytest.raises(Killed):
        agent_of(world, spool, tell=tell).print_one(world.record.token_id, ["ada"])
    made, reported = agent_of(world, Spool(spool.folder)).print_one(world.record.token_id, ["ada"])
    assert world.released == 1
    assert [end.reason for _, end in made.history.attempts] == ["interrupted", ""]
    assert reported is not None
    quantities = Receipt.parse(reported.receipt.statement).quantities
    assert quantities.in_part.source is Source.PRINTER  # the part is of the second attempt alone, which was counted
    assert quantities.failed.source is Source.NONE  # nobody counted what the interrupted attempt used
    assert quantities.duration.source is Source.NONE


def test_a_try_that_ends_before_a_printer_runs_is_no_attempt(spool: Spool) -> None:
    world = make_world([("cube.stl", CUBE)], protection=Protection.FILE)

    def full(_name: str, _gcode: bytes) -> None:
        raise LocalError("the disk is full", code="disk-full")

    for _ in range(2):
        with pytest.raises(LocalError):
            agent_of(world, spool, keep_gcode=full).print_one(world.record.token_id, ["ada"])
    assert spool.attempts(world.record.token_id, 1) == []
    made, reported = agent_of(world, spool).print_one(world.record.token_id, ["ada"], attempts=1)
    assert world.released == 1
    assert len(made.history.attempts) == 1
    assert reported is not None
    receipt = Receipt.parse(reported.receipt.statement)
    assert len(receipt.attempts) == 1
    quantities = receipt.quantities
    assert {quantities.in_part.source, quantities.failed.source, quantities.duration.source} == {Source.PRINTER}


def test_a_print_that_is_stopped_at_the_printer_keeps_its_count(world: World, spool: Spool) -> None:
    calls = itertools.count()
    agent = agent_of(world, spool, stop=lambda: next(calls) > 2)
    made, reported = agent.print_one(world.record.token_id, ["ada"])
    assert (made.cancelled, reported) == (True, None)
    _, reported = agent_of(world, spool).print_one(world.record.token_id, ["ada"])
    assert reported is not None
    quantities = Receipt.parse(reported.receipt.statement).quantities
    assert {quantities.in_part.source, quantities.failed.source, quantities.duration.source} == {Source.PRINTER}
    assert quantities.failed.value is not None
    assert quantities.failed.value > 0


def test_the_minutes_of_a_printer_with_a_clock_of_its_own_are_said_to_be(world: World, spool: Spool) -> None:
    _, reported = agent_of(world, spool).print_one(world.record.token_id, ["ada"])
    assert reported is not None
    (attempt,) = Receipt.parse(reported.receipt.statement).attempts
    assert attempt.printer.model == "Simulated FDM, minutes of simulated time"
    assert simulated_printers(speed=1)["ada"].model == "Simulated FDM"


def test_a_print_that_is_stopped_stays_open(world: World, spool: Spool) -> None:
    agent = agent_of(world, spool, stop=lambda: True)
    made, reported = agent.print_one(world.record.token_id, ["ada"], attempts=5)
    assert made.cancelled
    assert reported is None
    assert len(made.history.attempts) == 1
    made, reported = agent_of(world, spool).print_one(world.record.token_id, ["ada"])
    assert made.complete
    assert world.released == 1


def test_a_release_that_is_being_printed_is_not_printed_by_another_process(world: World, spool: Spool) -> None:
    agent = agent_of(world, spool)
    other = agent_of(world, Spool(spool.folder))
    job = agent.prepare(world.record.token_id, ["ada"])
    with agent.claimed_use(job, ["ada"]) as first, other.claimed_use(job, ["grace"]) as second:
        assert (first.sequence, second.sequence) == (1, 2)
    with other.claimed_use(job, ["grace"]) as third:
        assert third.sequence == 1


def test_a_token_that_another_process_holds_is_waited_for_and_then_refused(world: World, spool: Spool) -> None:
    spool.add(world.record)
    other = Spool(spool.folder)
    with (
        spool.claim(world.record.token_id),
        pytest.raises(LocalError) as refused,
        other.claim(world.record.token_id, wait_seconds=0.2),
    ):
        pass
    assert refused.value.code == "spool-busy"
    with other.claim(world.record.token_id):
        pass


def test_what_cannot_be_sent_now_is_sent_later(world: World, spool: Spool) -> None:
    agent = agent_of(world, spool)
    made, _ = agent.print_one(world.record.token_id, ["ada"], inspect=True)

    def unreachable() -> None:
        raise UpstreamError("no answer", code="gateway-unreachable")

    world.before_count = unreachable
    job = agent.prepare(world.record.token_id, ["ada"])
    with pytest.raises(UpstreamError):
        agent.report(world.record.token_id, made.sequence, Result.COMPLETED, job=job)
    world.before_count = lambda: None
    (sent,) = agent.resend(world.record.token_id)
    assert sent.result is Result.COMPLETED
    assert agent.report(world.record.token_id, made.sequence, Result.COMPLETED, job=job) == sent


def test_rejected_bodies_are_named_one_by_one(spool: Spool) -> None:
    world = make_world([("box.stl", CUBE), ("lid.stl", LID)], quantities=(1, 2))
    agent = agent_of(world, spool)
    made, _ = agent.print_one(world.record.token_id, ["ada"], inspect=True)
    job = agent.prepare(world.record.token_id, ["ada"])
    bad = frozenset({Body("lid", 1)})
    answer = agent.report(world.record.token_id, made.sequence, Result.REJECTED, job=job, rejected=bad)
    results = {(i.part, i.index): i.result for i in Receipt.parse(answer.receipt.statement).objects}
    assert results == {
        ("box", 0): Result.COMPLETED,
        ("lid", 0): Result.COMPLETED,
        ("lid", 1): Result.REJECTED,
    }
