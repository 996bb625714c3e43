"""Readings stand in a row in the window, without the sentences that they are behind: each says of what it was read."""

import re

from backend.health import GuidanceReading, Seen, TeacherReading, findings

SUBJECTS = ("student", "teacher", "discriminator", "fake score network", "score")


def test_every_reading_of_a_sound_run_names_what_was_read() -> None:
    seen = Seen(
        teacher=TeacherReading("edm", 0.18, "edm", 0.18, 1.0, 1.0),
        guidance=GuidanceReading(4.0, 4.0, 0.3),
    )
    steps = {"student_step": 8e-4, "discriminator_step": 1e-3, "fake_score_step": 1e-3}
    for step in range(200):
        steady = {"student": 1.0, "fake_score": 0.2, "real_recognised": 0.6, "fake_recognised": 0.6}
        seen.add_step({**steady, **steps})
        seen.add_readings(step, {"fake_score_on_student": 0.2, "teacher_on_student": 0.2, "spread": 0.9})
    for step in (100, 200):
        seen.add_preview(step, 1.0, {})
    found = findings(seen, 200)
    assert found[-1].sign == "overall"
    signs = {finding.sign for finding in found}
    assert {"student_still", "discriminator_dead", "fake_score_off", "teacher_type", "teacher_schedule"} <= signs
    for finding in found[:-1]:
        first = re.split(r"(?<=[a-z\d%])[.;] ", finding.reading)[0]
        assert any(subject in first for subject in SUBJECTS), finding.reading
        assert re.search(r"moved it|^Its? | (its|of its) (error|loss|steps)", first) is None, finding.reading
