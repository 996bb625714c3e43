"""Students that fold guidance in, beside the teacher they learn from."""

from backend import guided_students
from backend.bench_tables import guidance_table
from backend.guided_students import Case, measure, row

SHORT = {"steps": 1, "batch_size": 4}


def test_a_student_has_half_of_the_evaluations_and_adapters_are_few():
    found = measure(Case("adapter_guidance", training=SHORT, samples=20))
    assert (found["nfe"], found["teacher_nfe"], found["guidance"]) == (25, 50, 3.0)
    assert 0 < found["adapters"] < 0.05
    whole = measure(Case("guidance", training=SHORT, samples=20))
    assert whole["adapters"] is None
    assert whole["teacher_agreement"] == found["teacher_agreement"]
    # After one step neither has learnt anything of guidance.
    assert whole["rms"] > 0.05
    assert whole["unguided_rms"] == found["unguided_rms"] > 0.05


def test_a_finished_row_is_not_made_again(tmp_path, monkeypatch):
    made = []

    def counted(case: Case) -> dict[str, str]:
        made.append(case)
        return {"method": case.method}

    monkeypatch.setattr(guided_students, "measure", counted)
    assert row(Case("guidance"), tmp_path) == row(Case("guidance"), tmp_path) == {"method": "guidance"}
    assert made == [Case("guidance")]


def test_the_table_has_student_and_teacher_side_by_side():
    told = {"teacher": "digits", "method": "guidance", "guidance": 3.0, "nfe": 25, "teacher_nfe": 50, "rms": 0.05}
    told |= {"unguided_agreement": 0.9, "unguided_frechet": 0.8, "unguided_rms": 0.3}
    told |= {"agreement": 0.98, "teacher_agreement": 0.99, "frechet": 0.5, "teacher_frechet": 0.4, "adapters": 0.045}
    (cells,), heads = guidance_table([told])
    assert len(cells) == len(heads)
    assert cells[3:7] == ["25 (50)", "0.980 (0.990; 0.900)", "0.500 (0.400; 0.800)", "0.050 (0.300)"]
    assert cells[-1] == "4.5 %"
