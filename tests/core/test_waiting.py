"""A line about what takes long, and none about what does not."""

import io
import time

from allconv.core.waiting import say_if_long


def test_long_work_says_a_line_and_short_work_none(capsys):
    with say_if_long("Fetching ...", seconds=0.05):
        time.sleep(0.3)
    with say_if_long("Starting ...", seconds=0.2):
        pass
    time.sleep(0.3)
    assert capsys.readouterr() == ("", "Fetching ...\n")


def test_a_stream_that_is_closed_meanwhile_is_no_error():
    stream = io.StringIO()
    with say_if_long("Fetching ...", seconds=0.05, stream=stream):
        stream.close()
        time.sleep(0.2)
