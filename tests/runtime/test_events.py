from ste_ray.runtime.events import Backlog, EventBuffer


def message(number, chars=10):
    return ("model", {"text": "x" * chars, "number": number})


def numbers(events):
    return [fields["number"] for _, fields in events]


def test_events_are_not_kept_unless_asked_for():
    events = EventBuffer()
    events.emit("episode", {"tool": "add"})
    assert events.counts == {"episode": 1}
    assert events.take_shown() == ((), 0)


def test_counting_takes_nothing_from_whoever_shows():
    events = EventBuffer(keep=True)
    for number in range(64):
        events.emit(*message(number))
        assert events.counts == {"model": number + 1}
    shown, left_out = events.take_shown()
    assert numbers(shown) == list(range(64))
    assert left_out == 0
    assert events.counts == {"model": 64}


def test_only_calls_that_were_made_count_as_calls():
    events = EventBuffer()
    statuses = ["ok", "ok", "error", "timeout", "crashed", "rejected", "withheld", "interrupted"]
    for status in statuses:
        events.emit("tool", {"status": status})
    assert events.counts == {"tool": 5, "tool_failures": 3, "tool_not_made": 3}


def test_what_waits_is_bounded_and_what_is_left_out_is_counted():
    backlog = Backlog(max_chars=35)
    backlog.add([message(number) for number in range(5)])
    backlog.add([message(5, chars=1)])  # would fit, but must not overtake
    events, left_out = backlog.take()
    assert (numbers(events), left_out) == ([0, 1, 2], 3)
    # Once they are taken there is room again, and what others left out adds up.
    backlog.add([message(6)], left_out=2)
    backlog.add([message(7)])
    events, left_out = backlog.take()
    assert numbers(events) == []
    assert left_out == 4
