"""Signs of a teacher that is read or asked wrongly; it stands still, and so each is known from one reading."""

from backend.health.finding import Finding, GuidanceReading, TeacherReading

USELESS = 1.5
"""Error over the best linear denoiser's above which a teacher denoises nothing; a sound one is below 1 by nature."""
CLEARLY_LIKELIER = 1.3
"""How many times smaller the error as another type must be. All are tried on the same output; exact denoisers that are
read as another have 1.6 times the error in the plane, where types are alike, and on pictures far more."""
BETTER_TOLD, OTHER_NOISE = 1.005, 1.3
"""How many times smaller the error may become when another noise is told, and how far that must be from the true one.
Exact denoisers come to 1.0001."""
HALF_GUIDED = 0.5
"""Least share of the guidance asked for, of what the scale exceeds 1 by, that must be found; exact is 1."""
LEAST_EFFECT = 0.01
"""Of the condition: with less, any scale does nothing."""


def teacher_type(seen: TeacherReading | None) -> Finding | None:
    """Whether the teacher denoises at all as its card says it predicts; None where nothing could be tried."""
    if seen is None:
        return None
    reading = f"On real samples the teacher's error is {seen.error:.3g} times that of the best linear denoiser"
    if seen.likely != seen.declared:
        reading += f", and {seen.likely_error:.3g} times if its output were {seen.likely}"
    reading += "."
    other = seen.likely != seen.declared and seen.error >= CLEARLY_LIKELIER * seen.likely_error
    if seen.error <= USELESS and not other:
        return Finding("teacher_type", "good", "The teacher denoises as its prediction type says.", reading)
    if other:
        words = (
            f"The teacher's prediction type looks wrong: it is read as {seen.declared}, and its output fits "
            f"{seen.likely}. Correct prediction_type in its scheduler's configuration and start again."
        )
    else:
        words = (
            "The teacher does not denoise these samples. Check that the data are of its kind, size and range, and its "
            "prediction type and noise schedule; then start again."
        )
    return Finding("teacher_type", "bad", words, reading)


def teacher_schedule(seen: TeacherReading | None) -> Finding | None:
    """Whether the teacher is told the noise that there is; None where nothing could be tried or its type is wrong."""
    if seen is None or seen.error >= CLEARLY_LIKELIER * seen.likely_error:
        return None
    reading = (
        f"Told {seen.told:.3g} times the noise that there is, the teacher's error on real samples is {seen.gain:.3g} "
    )
    reading += "times smaller."
    if seen.gain < BETTER_TOLD or 1 / OTHER_NOISE < seen.told < OTHER_NOISE:
        reading = f"Told any other noise, the teacher's error is at best {1 / seen.gain:.1%} of what it is."
        return Finding("teacher_schedule", "good", "The noise schedule is the teacher's own.", reading)
    words = (
        f"The noise schedule is not the one the teacher was trained on: it does best when told {seen.told:.3g} times "
        "the noise that there is. Correct the betas or the shift in its scheduler's configuration and start again."
    )
    return Finding("teacher_schedule", "bad", words, reading)


def guidance_off(seen: GuidanceReading | None) -> Finding | None:
    """Whether guidance does what is asked for; None where none is asked for."""
    if seen is None:
        return None
    reading = f"The scale asked for is {seen.asked:.3g}, the one found in the teacher's predictions {seen.found:.3g}; "
    reading += f"the condition moves them by {seen.effect:.1%} of their error."
    if seen.effect < LEAST_EFFECT:
        words = (
            "Guidance does nothing: the teacher predicts the same with its condition and without. Check that its empty "
            "condition is the one it was trained with, or set guidance_scale to 1 and save half its evaluations."
        )
        return Finding("guidance_off", "bad", words, reading)
    if seen.found - 1 >= HALF_GUIDED * (seen.asked - 1):
        return Finding("guidance_off", "good", "The teacher is guided as asked.", reading)
    words = (
        f"Guidance is off: the student follows a teacher at scale {seen.found:.3g} and not {seen.asked:.3g}. Check "
        "where the method guides its teacher, and start again."
    )
    return Finding("guidance_off", "bad", words, reading)
