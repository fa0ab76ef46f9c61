"""Fault drills: a class at work, a fault in the middle of it, and what came of each answer.

`python -m tests.drills` takes a quarter of an hour and is no part of continuous integration.
[docs/drills.md](../../docs/drills.md) has its last result. A drill is a fault of `faults`; `school`
holds the server, `learners` who works there, `kept` compares what they were told with what is
stored.
"""
