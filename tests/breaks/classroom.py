"""Faults of classes: who gets in, who sees what, what is kept, lost or deleted."""

from __future__ import annotations

from tests.breaks import Break

BREAKS: tuple[Break, ...] = (
    Break(
        name="Streamlit's own paths need no seat",
        fault="Sockets and uploaded files of a class can be had without having joined it.",
        file="strata/ui/server/door.py",
        old='or path.startswith("/static/"):',
        new='or path.startswith(("/static/", "/_stcore/")):',
        tests=(
            "tests/ui/server/test_door.py::"
            "test_without_a_seat_there_is_no_page_no_file_and_no_socket",
        ),
    ),
    Break(
        name="the teacher's secret may be guessed for ever",
        fault="Wrong attempts at the secret are not counted.",
        file="strata/ui/server/door.py",
        old="    reception.secrets_typed.take(whose)  # before",
        new="    # before",
        tests=(
            "tests/ui/server/test_door.py::"
            "test_the_teacher_enters_by_the_secret_and_not_without_end",
        ),
    ),
    Break(
        name="a prompt is found from another class",
        fault="A link of one class shows a learner's own words to another class.",
        file="strata/storage/prompts.py",
        old="            if class_id is not None:\n",
        new="            if class_id == 0:\n",
        tests=("tests/classroom/test_roster.py::test_a_prompt_is_found_in_its_class_only",),
    ),
    Break(
        name="deletion leaves the figures",
        fault="What a learner saw is kept though the learner was deleted.",
        file="strata/classroom/roster.py",
        old="EventRow.learner, FigureRow.learner, ",
        new="EventRow.learner, ",
        tests=(
            "tests/classroom/test_roster.py::"
            "test_forgetting_one_and_removing_a_class_leave_nothing_of_them",
        ),
    ),
    Break(
        name="a learner's seat is left to the next one",
        fault="On a shared computer who joins later can go on as who was there before.",
        file="strata/ui/server/door.py",
        old="others = [each for each in had if each[1].is_teacher != (not member)]",
        new="others = had",
        tests=(
            "tests/ui/server/test_door.py::test_no_seat_is_left_beside_that_is_not_meant_to_be",
        ),
    ),
    Break(
        name="the class page forgets which class",
        fault="After a look at another page the newest class is chosen, and its vote opened.",
        file="strata/ui/classroom/this_class.py",
        old="    if chosen is not None:\n        be_with(chosen)\n",
        new="    if chosen is not None:\n        be_with(groups[0].id)\n",
        tests=(
            "tests/ui/classroom/test_this_class.py::"
            "test_the_class_page_comes_back_to_the_class_it_was_at",
        ),
    ),
    Break(
        name="a class that takes nobody new is joined",
        fault="Whoever has the code comes in after the teacher has stopped that.",
        file="strata/classroom/roster.py",
        old="        if not group.joining:",
        new="        if False:",
        tests=(
            "tests/classroom/test_roster.py::test_a_teacher_shuts_the_door_behind_those_who_are_in",
        ),
    ),
    Break(
        name="a second round counts the first as well",
        fault="The bars of the second vote hold every learner's ballots of both votes.",
        file="strata/classroom/votes.py",
        old="[tally(cast[n].values()).assign(round=n) for n in rounds]",
        new="[tally([g for m in range(n) for g in cast[m + 1].values()]).assign(round=n)"
        " for n in rounds]",
        tests=("tests/classroom/test_votes.py::test_each_round_is_counted_in_the_bars_of_all",),
    ),
    Break(
        name="a ballot that is sent again is kept again",
        fault="A ballot that the browser repeats late overrules the answer given since.",
        file="strata/lessons/progress.py",
        old='_event(learner, vote_id, round_, "vote", {"guess": guess}, again)',
        new='_event(learner, vote_id, round_, "vote", {"guess": guess})',
        tests=("tests/classroom/test_votes.py::test_vote_talk_and_vote_again",),
    ),
    Break(
        name="a round that is closed takes ballots",
        fault="Who kept an old screen open votes after everyone has seen the results.",
        file="strata/classroom/board.py",
        old="vote.id != vote_id or not vote.round or vote.round != round_:",
        new="vote.id != vote_id:",
        tests=(
            "tests/ui/server/test_live.py::"
            "test_a_ballot_is_kept_once_and_only_while_its_round_is_open",
        ),
    ),
    Break(
        name="what waits is lost with the server",
        fault="Answers that the database could not take are forgotten at the next start.",
        file="strata/storage/outbox.py",
        old='sorted(self._folder.glob(f"{self._name}-*.[jr]*"))',
        new='sorted(self._folder.glob(f"{self._name}-*.[r]*"))',
        tests=("tests/storage/test_outbox.py::test_a_restart_replays_what_waited",),
    ),
    Break(
        name="a server that has just begun calls the vote closed",
        fault="After a restart browsers give ballots up that were never refused.",
        file="strata/classroom/board.py",
        old="if class_id not in self._screens:",
        new="if False:",
        tests=(
            "tests/ui/server/test_live_kept.py::"
            "test_a_server_that_does_not_know_yet_asks_for_another_try",
        ),
    ),
    Break(
        name="a form that is sent again joins again",
        fault="Where an answer is lost on its way, a learner is in the class twice.",
        file="strata/classroom/roster.py",
        old="if form and (row := session.scalar(before)) is not None:",
        new="if False and (row := session.scalar(before)) is not None:",
        tests=(
            "tests/ui/server/test_door_waits.py::"
            "test_who_joins_meanwhile_waits_with_what_was_typed_and_is_let_in_once",
        ),
    ),
    Break(
        name="the gradebook forgets the first answer",
        fault="A second try takes the place of the first in what the teacher sees.",
        file="strata/classroom/watch.py",
        old='kept |= {"revision": said, "revision_grade": grade}',
        new='kept |= {"first": said, "first_grade": grade}',
        tests=(
            "tests/classroom/test_watch.py::test_the_gradebook_keeps_first_answer_and_revision",
        ),
    ),
    Break(
        name="a word that was hidden goes on the wall",
        fault="What the teacher has hidden of a vote of words is shown to the class.",
        file="strata/classroom/votes.py",
        old="            row.hidden = json.dumps(",
        new="            _ = json.dumps(",
        tests=("tests/classroom/test_wall.py::test_a_word_is_hidden_on_the_wall_and_in_no_row",),
    ),
    Break(
        name="who was deleted is not told",
        fault="The open page of a learner who was taken out goes on as if nothing had happened.",
        file="strata/ui/server/live.py",
        old="            if await _is_deleted(socket, seat.group.id, seat.member.id):",
        new="            if False:",
        tests=("tests/ui/server/test_live.py::test_who_was_deleted_is_out_where_they_are_seated",),
    ),
    Break(
        name="a learner without an answer is not in the gradebook",
        fault="Who has done nothing is missing in the file that goes into the marks.",
        file="strata/classroom/book.py",
        old='for each in names if each not in set(book["member"])]',
        new="for each in ()]",
        tests=(
            "tests/classroom/test_book.py::test_everyone_is_in_it_in_an_order_that_does_not_depend_on_who_came_first",
        ),
    ),
    Break(
        name="a header is missing",
        fault="Browsers may take a file that a learner sent for a page or a program.",
        file="strata/ui/server/start.py",
        old='    "x-content-type-options": "nosniff",\n',
        new="",
        tests=("tests/browser/test_frame.py::test_every_answer_has_the_security_headers",),
    ),
)
