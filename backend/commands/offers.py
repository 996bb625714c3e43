"""What there is: methods and teachers, for a person and for the window; and the demo, which shows it all."""

import json
from typing import Annotated, Any

import typer

from backend import studio
from backend.commands import Json, answer, say
from backend.contract import catalogue
from backend.importing import uncollected
from backend.text_tables import number, table


def demo(
    project: Annotated[str | None, typer.Option(help="Project to make or add to.")] = None, as_json: Json = False
) -> None:
    """Distil the bundled digits teacher: train, evaluate, export, and verify the export."""
    from backend import demo as main_job  # noqa: PLC0415

    done = main_job.demo(studio.project_path(project) if project else None, say)

    def show() -> None:
        rows = []
        for key, words in (
            ("teacher_at_student_nfe", "teacher, same NFE"),
            ("student", "student"),
            ("teacher", "teacher in full"),
        ):
            figures = done[key]
            rows.append([words, str(figures["nfe"]), number(figures["frechet"]), number(figures["accuracy"])])
        table(rows, ["", "NFE", "Frechet distance", "class accuracy"])
        print(
            f"{done['speed_up']} times faster than the teacher in full; trained and checked in {done['seconds']} s, "
            f"{done['memory'] / 2**20:.0f} MiB"
        )
        print(f"picture  {done['picture']}")
        print(f"export   {done['export']['path']}")
        print(
            f"         plain diffusers differs from the preview by at most {done['export']['max_abs_difference']:.1e}"
        )
        print(f"project  {done['project']}")

    answer(done, as_json, show)


def methods(
    name: Annotated[str | None, typer.Argument(help="One method, with its settings.")] = None, as_json: Json = False
) -> None:
    """List the methods: what each needs, its settings with defaults, units and ranges."""
    from backend import describe  # noqa: PLC0415

    cards, broken = describe.methods()
    if name is not None:
        card = describe.method(name)

        def show_one() -> None:
            print(f"{card.title} ({card.key}), {card.paper}\n{card.summary}\ncost: {card.cost_words}")
            print(f"needs: {', '.join(card.needs) or 'nothing but the teacher'}, with the defaults\n")
            rows = [_setting_row(key, about) for key, about in card.settings["properties"].items()]
            table(rows, ["setting", "default", "range", "what it does"])

        answer(card.model_dump(mode="json"), as_json, show_one)
        return

    def show_all() -> None:
        table([[c.key, c.title, c.paper, f"{c.cost:g}"] for c in cards], ["name", "method", "paper", "cost"])
        print("cost: forwards of the teacher per step and sample, with the default settings")
        for fault in broken:
            print(f"{fault.key} does not load: {fault.error}")

    data = {
        "methods": [c.model_dump(mode="json") for c in cards],
        "broken": [b.model_dump(mode="json") for b in broken],
    }
    answer(data, as_json, show_all)


def _setting_row(key: str, about: dict[str, Any]) -> list[str]:
    low, high = about.get("minimum"), about.get("maximum")
    if low is not None and high is not None:
        span = f"{low} to {high}"
    elif low is not None or high is not None:
        span = f"{low} or more" if high is None else f"{high} or less"
    else:
        span = ", ".join(map(str, about.get("enum", [])))
    unit = f" {about['unit']}" if about.get("unit") else ""
    return [key, json.dumps(about.get("default")), span + unit, about.get("description", "")]


def _looked_at(where: str) -> tuple[catalogue.TeacherCard, dict[str, list[str]]]:
    """A teacher, and the methods that can use it; without torch where the methods are known from an earlier start."""
    from backend.teachers import quick  # noqa: PLC0415

    card = None if where.partition(":")[0] == "mixture-2d" else quick.card(where)
    if card is not None:
        usable = quick.methods_for(card)
        if usable is not None:
            return card, usable
    say("Asking every method what it needs; once, for some seconds.")
    from backend import describe  # noqa: PLC0415

    made = describe.catalogue()
    catalogue.store_cached(catalogue.default_key(), made)
    card = card or describe.teacher_card(where)
    return card, quick.sorted_for(card, made.methods)


def teachers(
    where: Annotated[str | None, typer.Argument(metavar="[PATH]", help="A diffusers folder.")] = None,
    as_json: Json = False,
) -> None:
    """List the bundled teachers, or say what a given one is and whether it can be used."""
    if where is not None:
        card, usable = _looked_at(where)

        def show_one() -> None:
            print(f"{card.title} ({card.key}): {card.summary}")
            classes = f"{card.classes} classes, " if card.classes else ""
            print(f"samples {'x'.join(map(str, card.shape))}, {classes}{card.parameters:,} parameters")
            print(f"licence: {card.licence}\nmethods that can use it: {', '.join(usable['methods'])}")
            if usable["methods_with_data"]:
                print(f"methods that can with real data: {', '.join(usable['methods_with_data'])}")
            if usable["methods_refusing"]:
                lacks = "no classes or prompts" if card.condition == "none" else "no unconditional mode"
                print(f"methods that cannot with their defaults, as it has {lacks}: ", end="")
                print(", ".join(usable["methods_refusing"]))
            for key, value in card.figures.items():
                print(f"{key.replace('_', ' ')}: {value:.4g}")

        answer(card.model_dump(mode="json") | usable, as_json, show_one)
        return
    from backend import describe  # noqa: PLC0415

    cards = describe.bundled_teachers()

    def show_all() -> None:
        heads = ["name", "teacher", "sample", "predicts", "parameters"]
        whole = [card for card in cards if not card.problem]
        table(
            [[c.key, c.title, "x".join(map(str, c.shape)), c.prediction_type, f"{c.parameters:,}"] for c in whole],
            heads,
        )
        for card in cards:
            if card.problem:
                print(f"{card.key} cannot be used: {card.problem}")

    answer({"teachers": [c.model_dump(mode="json") for c in cards]}, as_json, show_all)


def describe(as_json: Json = True) -> None:
    """Print everything the backend offers on this machine, for other programs."""
    with uncollected():  # what methods need is imported as they are tried
        from backend.describe import catalogue as make  # noqa: PLC0415

        made = make()
    catalogue.store_cached(catalogue.default_key(), made)
    print(made.to_json())
