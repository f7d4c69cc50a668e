"""Every guard of the promise, broken on purpose: a text of a file and what stands in its place, and who notices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

UNIT, INTEGRATION = "tests/unit", "tests/integration"
SIMULATION = "tests/simulation"
FORWARD = "bridge/celery_event_bridge/forward"
RABBITMQ = "bridge/celery_event_bridge/brokers/rabbitmq"
KOMBU = "bridge/celery_event_bridge/brokers/kombu"
REDIS_BROKER = f"{INTEGRATION}/redis_broker"
FOLDERS = f"{INTEGRATION}/kombu_transports/test_filesystem.py"
CONFIG = "bridge/celery_event_bridge/config"
AUDIT = "bridge/celery_event_bridge/audit"
BROKER_REDIS = "bridge/celery_event_bridge/brokers/redis"
KAFKA, REDIS, SQLITE = (f"sinks/celery_event_sinks/{sink}" for sink in ("kafka", "redis", "sqlite"))


class Change(NamedTuple):
    """A piece of a file that is there once, and another in its place."""

    file: str
    old: str
    new: str


class Mutation(NamedTuple):
    """A guard that is broken."""

    name: str
    changes: Sequence[Change]
    tests: Sequence[str]
    """Each of these fails."""
    campaign: tuple[str, ...] = ()
    """A sink and the faults after which the oracle reports a loss, or that something is there twice."""
    figure: str = "lost"
    """What the oracle reports more than none of."""


MUTATIONS = (
    Mutation(
        "acknowledged before the confirm",
        [Change(f"{FORWARD}/ledger.py", "if delivery.owes or delivery.refusals:", "if delivery.refusals:")],
        [f"{UNIT}/forward/test_relay.py::test_nothing_is_acknowledged_before_the_sink_has_confirmed"],
        ("kafka", *["bridge killed while the stream is away"] * 2),
    ),
    Mutation(
        "ready with a sink that was not asked",
        [
            Change(
                "bridge/celery_event_bridge/observe/sink.py",
                "self._try(self._sink.open)\n",
                "self._try(self._sink.open)\n        self._set_available()\n",
            )
        ],
        [f"{UNIT}/observe/test_observed_sink.py::test_an_observed_sink_counts"],
    ),
    Mutation(
        "acknowledged singly before the confirm",
        [Change(f"{FORWARD}/ledger.py", "return not self.owes and not self.refusals", "return not self.refusals")],
        [
            f"{UNIT}/forward/test_ledger.py::test_those_stuck_behind_a_slow_head_are_acknowledged_singly_after_a_while",
            f"{UNIT}/forward/test_ledger.py::test_against_a_naive_model",
        ],
        ("kafka", *["bridge killed while the stream is away"] * 2),
    ),
    Mutation(
        "a tag without its generation",
        [
            Change(f"{FORWARD}/ledger.py", "for lane in self._lanes.values():", "for lane in ():"),
            Change(f"{FORWARD}/ledger.py", "        self._lanes.clear()\n", ""),
            Change(
                f"{RABBITMQ}/source.py",
                'cast("Lane", ack.lane).acknowledge',
                'next(lane for lane in self._lanes if lane.queue == cast("Lane", ack.lane).queue).acknowledge',
            ),
        ],
        [
            f"{UNIT}/forward/test_ledger.py::test_a_late_verdict_acknowledges_nothing_on_a_new_channel",
            f"{UNIT}/forward/test_relay.py::test_a_lost_connection_forgets_what_was_in_hand",
        ],
    ),
    Mutation(
        "the whole prefix acknowledged on one confirm",
        [
            Change(
                f"{FORWARD}/ledger.py",
                "            if delivery.owes or delivery.refusals:\n",
                "            if not any(delivery.settled for delivery in queue):\n",
            )
        ],
        [
            f"{UNIT}/forward/test_ledger.py::test_nothing_is_acknowledged_past_a_delivery_that_still_owes",
            f"{UNIT}/forward/test_ledger.py::test_against_a_naive_model",
        ],
        ("kafka", *["bridge killed while the stream is away", "Kafka's leader killed"] * 2),
    ),
    Mutation(
        "an error reply counted as success: Redis",
        [
            Change(f"{REDIS}/sink.py", "if type(reply) is bytes]\n            if", "]\n            if"),
            Change(f"{REDIS}/sink.py", "+= self._once.take(stored, into, replies)", "+= stored"),
        ],
        [
            f"{INTEGRATION}/redis/test_redis_sink.py::test_out_of_memory",
            f"{INTEGRATION}/redis/test_redis_sink.py::test_a_replica_is_read_only",
        ],
        ("redis", "Redis full", "Redis a replica"),
    ),
    Mutation(
        "written counted as stored: Redis",
        [
            Change(
                f"{REDIS}/sink.py",
                "self._written[: len(replies)], self._written[len(replies) :]\n            stored = "
                "[event for event, reply in zip(answered, replies, strict=True) if type(reply) is bytes]",
                "self._written, []\n            stored = answered",
            ),
            Change(f"{REDIS}/sink.py", "+= self._once.take(stored, into, replies)", "+= stored"),
        ],
        [f"{INTEGRATION}/redis/test_redis_pipeline.py::test_replies_that_never_come"],
        ("redis", *["Redis killed"] * 3),
    ),
    Mutation(
        "a lost connection counted as success: Redis",
        [Change(f"{REDIS}/sink.py", "self._lose(unanswered, str(lost))", "self._unconfirmed += unanswered")],
        [
            f"{INTEGRATION}/redis/test_redis_pipeline.py::test_replies_that_never_come",
            f"{INTEGRATION}/redis/test_redis_sink.py::test_a_restart_with_its_file",
        ],
        ("redis", *["Redis killed"] * 3),
    ),
    Mutation(
        "WAIT asked on another connection",
        [Change(f"{REDIS}/replicas.py", "if generation not in (None, self._client.generation):", "if False:")],
        [f"{INTEGRATION}/redis/test_redis_pipeline.py::test_wait_is_asked_on_the_connection_that_has_written"],
    ),
    Mutation(
        "Redis asked while replies are owed",
        [
            Change(f"{REDIS}/sink.py", "while (self._written or self._once) and not deadline.passed:", "while False:"),
            Change(f"{REDIS}/sink.py", "if self._written:  # a question", "if False:  # a question"),
        ],
        [f"{INTEGRATION}/redis/test_redis_pipeline.py::test_what_is_on_its_way_is_answered_before_a_question"],
    ),
    Mutation(
        "bytes that a socket takes counted as a sign of life",
        [
            Change(
                f"{REDIS}/pipeline.py",
                "            if not self.owed:\n                self._heard_at = time.monotonic()\n",
                "            self._heard_at = time.monotonic()\n            if not self.owed:\n",
            )
        ],
        [
            f"{UNIT}/sinks/redis/test_redis_entry_pipeline.py::test_a_silent_connection_is_a_lost_one",
            f"{INTEGRATION}/redis/test_redis_pipeline.py::test_a_half_open_connection",
        ],
    ),
    Mutation(
        "a reply too many counted",
        [Change(f"{REDIS}/pipeline.py", "            replies.clear()  # which", "            # which")],
        [f"{UNIT}/sinks/redis/test_redis_entry_pipeline.py::test_a_reply_too_many_is_the_end"],
    ),
    Mutation(
        "the connection to a demoted Redis kept",
        [Change(f"{REDIS}/errors.py", "return code_of(error) not in OF_THE_COMMAND or", "return")],
        [f"{INTEGRATION}/redis/test_redis_others.py::test_a_name_that_leads_to_the_new_master"],
    ),
    Mutation(
        "an event that takes the connection to Redis down tried without end",
        [Change(f"{REDIS}/suspects.py", "if cuts >= TRIALS:", "if False:")],
        [f"{INTEGRATION}/redis/test_redis_others.py::test_an_event_over_the_servers_buffer_is_refused_alone"],
    ),
    Mutation(
        "an event refused for a restart of Redis",
        [
            Change(
                f"{REDIS}/sink.py",
                'try:\n            self._client.ask("PING")\n        except SinkUnavailable as exc:  # Redis',
                "try:\n            pass\n        except SinkUnavailable as exc:  # Redis",
            )
        ],
        [f"{INTEGRATION}/redis/test_redis_others.py::test_restarts_lead_to_no_refusal"],
    ),
    Mutation(
        "a byte of a reply counted as a sign of life",
        [
            Change(
                f"{REDIS}/pipeline.py",
                "if answers := self._unread.feed(received):\n",
                "answers = self._unread.feed(received)\n                if received:\n",
            )
        ],
        [f"{INTEGRATION}/redis/test_redis_others.py::test_a_trickle_ends_every_call"],
    ),
    Mutation(
        "entries removed by the bridge's own clock: Redis",
        [Change(f"{REDIS}/trim.py", "now = self._clock.ask(self._client)", "now = round(time.time() * 1000)")],
        [f"{INTEGRATION}/redis/test_redis_trim.py::test_a_clock_that_is_ahead_removes_nothing"],
    ),
    Mutation(
        "entries that are gone from Redis not noticed",
        [Change(f"{REDIS}/watch.py", "        gone -= removed\n", "        gone = 0\n")],
        [f"{INTEGRATION}/redis/test_redis_gone.py::test_entries_that_somebody_removes"],
    ),
    Mutation(
        "an entry that Redis remembers and has no more counted as stored",
        [Change(f"{REDIS}/once.py", "if self._ends and (old", "if None and (old")],
        [
            f"{INTEGRATION}/redis/test_redis_once.py::test_what_redis_remembers_and_has_no_more_is_written_again",
            f"{INTEGRATION}/redis/test_redis_once.py::test_a_replay_puts_back_what_is_gone",
        ],
    ),
    Mutation(
        "what another bridge has written counted as new: Redis",
        [Change(f"{REDIS}/once.py", "if milliseconds is None:", "if True:")],
        [f"{INTEGRATION}/redis/test_redis_once.py::test_what_another_bridge_has_written_and_is_gone_is_written_again"],
    ),
    Mutation(
        "entries that went into another stream of Redis's not noticed",
        [Change(f"{REDIS}/watch.py", "elsewhere = max(0, own - (now.added - before.added))", "elsewhere = 0")],
        [f"{INTEGRATION}/redis/test_redis_gone.py::test_what_was_written_while_another_stream_had_its_name"],
    ),
    Mutation(
        "numbers that are given anew in SQLite not noticed",
        [Change(f"{SQLITE}/sink.py", "if self._file.stored - len(rows) < own:", "if False:")],
        [f"{INTEGRATION}/sqlite/test_sqlite_changed.py::test_an_older_copy_that_is_passed_before_a_look_is_told_of"],
    ),
    Mutation(
        "another event at the number of ours in SQLite not noticed",
        [Change(f"{SQLITE}/watch.py", "AND (?2 IS NULL OR id = ?2))", "AND (?2 IS NULL OR 1))")],
        [f"{INTEGRATION}/sqlite/test_sqlite_changed.py::test_an_older_copy_that_another_bridge_has_passed_is_told_of"],
    ),
    Mutation(
        "a Redis stream left to expire",
        [Change(f"{REDIS}/watch.py", "isinstance(seconds, int) and seconds >= 0", "False")],
        [f"{INTEGRATION}/redis/test_redis_keys.py::test_an_expiry_that_somebody_sets_is_taken_away"],
    ),
    Mutation(
        "a reader used on both sides of a fork",
        [Change("bridge/celery_event_bridge/reading/fork.py", "        self.copied = True\n", "")],
        [f"{INTEGRATION}/reading/test_reader_groups.py::test_a_copy_in_a_forked_child_is_refused"],
    ),
    Mutation(
        "what a destroyed Redis group held not handed out again",
        [Change(f"{REDIS}/in_hand.py", "again = self._restore(stream, held)", "again = 0")],
        [
            f"{INTEGRATION}/redis/test_redis_groups.py::test_a_group_that_somebody_destroys",
            f"{INTEGRATION}/redis/test_redis_groups.py::test_a_consumer_that_somebody_deletes",
        ],
    ),
    Mutation(
        "a Redis group made again at the end of the stream",
        [Change(f"{REDIS}/group.py", 'self._name, entry_of(after), "MKSTREAM"', 'self._name, "$", "MKSTREAM"')],
        [f"{INTEGRATION}/redis/test_redis_groups.py::test_a_group_that_somebody_destroys"],
    ),
    Mutation(
        "what was taken over when another stream's group was destroyed kept from everybody",
        [Change(f"{REDIS}/reader.py", "self._missed = True  # what came from another stream before", "pass")],
        [f"{INTEGRATION}/redis/test_redis_groups.py::test_what_was_taken_over_when_another_streams_group_is_destroyed"],
    ),
    Mutation(
        "what was in hand of a Redis stream that comes back forgotten",
        [Change(f"{REDIS}/in_hand.py", "        if not sought:\n", "        if True:\n")],
        [
            f"{INTEGRATION}/redis/test_redis_returned.py::test_what_was_in_hand_of_a_stream_that_comes_back",
            f"{INTEGRATION}/redis/test_redis_returned.py::test_a_commit_in_a_stream_that_is_back_before_it_is_noticed",
            f"{INTEGRATION}/redis/test_redis_returned.py::test_what_nobody_holds_in_a_stream_that_comes_back",
        ],
    ),
    Mutation(
        "what Redis holds for a living reader that has it not in hand kept from everybody",
        [Change(f"{REDIS}/group.py", "if mine - acknowledged > len(self._in_hand.held(stream)):", "if False:")],
        [f"{INTEGRATION}/redis/test_redis_returned.py::test_what_was_given_up_of_a_stream_that_comes_back"],
    ),
    Mutation(
        "what was acknowledged taken for lost with the rest of a commit",
        [Change(f"{REDIS}/group.py", "            self._in_hand.committed(stream, done)\n", "")],
        [f"{INTEGRATION}/redis/test_redis_returned.py::test_a_commit_in_a_stream_that_is_back_before_it_is_noticed"],
    ),
    Mutation(
        "what was fetched of other Redis streams dropped with one's",
        [Change(f"{REDIS}/reader.py", "self._group.release_all()  # who asks", "pass  # who asks")],
        [
            f"{INTEGRATION}/redis/test_redis_returned.py::test_what_was_fetched_of_other_streams_when_the_group_of_one_is_destroyed",
        ],
    ),
    Mutation(
        "a Redis group made again without the number of what it has read",
        [Change(f"{REDIS}/group.py", 'number = ("ENTRIESREAD", read)', "number = ()")],
        [f"{INTEGRATION}/redis/test_redis_counted.py::test_what_is_removed_while_a_group_is_destroyed"],
    ),
    Mutation(
        "what is gone from a Redis stream counted at each look",
        [Change(f"{REDIS}/overtaken.py", "self._deficit[stream] = deficit + gone", "pass")],
        [f"{INTEGRATION}/redis/test_redis_counted.py::test_a_stream_that_stays_empty_is_counted_once"],
    ),
    Mutation(
        "what is gone from a Redis stream counted again with the next trim",
        [
            Change(f"{REDIS}/overtaken.py", "self._deficit[stream] = deficit + gone", "pass"),
            Change(
                f"{REDIS}/overtaken.py", "self._deficit[stream] = max(0, now.added - now.length + there - read)", "pass"
            ),
        ],
        [
            f"{INTEGRATION}/redis/test_redis_counted.py::test_a_group_that_is_overtaken_twice_before_the_end_is_counted_once",
        ],
    ),
    Mutation(
        "a destroyed Redis group taken as leave to remove what it had not read",
        [
            Change(
                f"{REDIS}/needed.py",
                "kept = (*self._gone[stream].values(), *self._lost[stream])",
                "kept = (*self._lost[stream],)",
            )
        ],
        [
            f"{INTEGRATION}/redis/test_redis_trim.py::test_what_a_group_had_not_read_is_kept_when_somebody_destroys_it",
            f"{UNIT}/sinks/redis/test_redis_needed.py::test_what_a_group_needed_is_kept_for_some_time_once_it_is_gone",
        ],
    ),
    Mutation(
        "a deleted consumer of a Redis group taken as leave to remove what it had in hand",
        [
            Change(
                f"{REDIS}/needed.py",
                "kept = (*self._gone[stream].values(), *self._lost[stream])",
                "kept = (*self._gone[stream].values(),)",
            )
        ],
        [
            f"{INTEGRATION}/redis/test_redis_trim.py::test_what_a_deleted_consumer_had_in_hand_is_kept_for_those_that_hand_it_out_again",
            f"{UNIT}/sinks/redis/test_redis_needed.py::test_what_a_group_needed_is_kept_for_some_time_once_a_consumer_is_lost",
        ],
    ),
    Mutation(
        "a position beyond the end of a Redis stream kept",
        [
            Change(f"{REDIS}/reader.py", "now.exists and now.last < self._after[stream]:", "False:"),
            Change(
                f"{REDIS}/position.py", "if now.exists and now.last < (position", "if False and now.last < (position"
            ),
        ],
        [
            f"{INTEGRATION}/redis/test_redis_anew.py::test_a_stream_that_was_made_anew_with_lower_ids_is_read_from_its_beginning",
            f"{INTEGRATION}/redis/test_redis_anew.py::test_a_group_that_is_beyond_its_streams_end_reads_all_that_comes",
        ],
    ),
    Mutation(
        "an error report counted as success: Kafka",
        [
            Change(
                f"{KAFKA}/sink.py", "if error is None:\n            self._stored", "if True:\n            self._stored"
            )
        ],
        [f"{INTEGRATION}/kafka/test_kafka_sink.py::test_asked_again_it_lets_go_of_what_it_held"],
        ("kafka", "messages too large", "right to write withdrawn"),
    ),
    Mutation(
        "an error of the commit counted as success: SQLite",
        [
            Change(
                f"{SQLITE}/sink.py",
                """except (sqlite3.Error, OSError) as exc:
            self._roll_back()
            raise self._unavailable(exc) from exc
        # Once""",
                """except (sqlite3.Error, OSError):
            self._roll_back()
        # Once""",
            )
        ],
        [f"{INTEGRATION}/sqlite/test_sqlite_sink.py::test_another_writers_lock_is_waited_for_not_for_long"],
        ("sqlite", "SQLite locked", "SQLite's disk full", "SQLite locked"),
    ),
    Mutation(
        "produced again before its verdict",
        [
            Change(
                f"{FORWARD}/driver.py",
                "events, self.pending = list(self.pending), deque()",
                "events = list(self.pending)",
            )
        ],
        [f"{UNIT}/forward/test_relay.py"],
    ),
    Mutation(
        "no dead-letter route",
        [
            Change(f"{RABBITMQ}/topology.py", '                "x-dead-letter-exchange": "",\n', ""),
            Change(f"{RABBITMQ}/topology.py", '                "x-dead-letter-routing-key": overflow.name,\n', ""),
        ],
        [f"{UNIT}/brokers/rabbitmq/test_topology.py::test_the_arguments_are_the_contracts"],
        ("sqlite", "stream away for longer than messages live"),
    ),
    Mutation(
        "at-most-once dead-lettering",
        [Change(f"{RABBITMQ}/topology.py", 'live["x-dead-letter-strategy"] = "at-least-once"', "pass")],
        [f"{UNIT}/brokers/rabbitmq/test_topology.py::test_the_arguments_are_the_contracts"],
        ("sqlite", "overflow queue missing for a moment"),
    ),
    Mutation(
        "no delivery limit of our own",
        [Change(f"{RABBITMQ}/topology.py", 'base["x-delivery-limit"] = DELIVERY_LIMIT', "pass")],
        [f"{UNIT}/brokers/rabbitmq/test_topology.py::test_a_crash_loop_throws_no_event_away"],
    ),
    Mutation(
        "single acknowledgements at the end",
        [Change(f"{FORWARD}/relay.py", "singly=not self._stopping", "singly=True")],
        [f"{UNIT}/forward/test_relay_stops.py::test_at_the_end_nothing_is_acknowledged_singly"],
    ),
    Mutation(
        "a tag acknowledged twice",
        [
            Change(
                f"{FORWARD}/ledger.py",
                "        if taken:\n",
                "        if ():\n",
            )
        ],
        [f"{UNIT}/forward/test_ledger.py::test_the_watermark_never_names_a_tag_that_was_acknowledged_singly"],
    ),
    Mutation(
        "what was refused acknowledged without parking",
        [Change(f"{FORWARD}/ledger.py", "if delivery.owes or delivery.refusals:", "if delivery.owes:")],
        [f"{UNIT}/forward/test_relay_parking.py::test_a_message_that_cannot_be_parked_yet_stays_unacknowledged"],
        ("sqlite", "all bridges killed while nothing can be parked"),
        "lost parked",
    ),
    Mutation(
        "parked without a confirm",
        [Change(f"{RABBITMQ}/parking.py", "confirmed, self._confirmed = self._confirmed, []", "confirmed = parcels")],
        [f"{INTEGRATION}/rabbitmq/test_parking.py"],
    ),
    Mutation(
        "Kafka's producer kept over an outage",
        [Change(f"{KAFKA}/sink.py", "if len(self._producer) or self._fatal", "if self._fatal")],
        [f"{INTEGRATION}/kafka/test_kafka_sink.py::test_asked_again_it_lets_go_of_what_it_held"],
    ),
    Mutation(
        "a record's time not chosen: Kafka",
        [
            Change(
                f"{KAFKA}/records.py", "return at if self._earliest <= at <= self._latest else self.now", "return at"
            ),
            Change(
                f"{KAFKA}/sink.py",
                "            self._waiting.late.append(event)\n",
                '            self._undone.setdefault((Outcome.REFUSED, ""), []).append(event)\n',
            ),
        ],
        [
            f"{INTEGRATION}/kafka/test_kafka_times.py::test_what_a_topic_refuses_gets_the_time_of_now",
            f"{INTEGRATION}/kafka/test_kafka_times.py::test_events_that_come_late_are_kept_as_long_as_the_others",
            f"{INTEGRATION}/kafka/test_kafka_times.py::test_a_limit_that_is_set_meanwhile_refuses_nothing",
        ],
    ),
    Mutation(
        "a Kafka topic made again without regard to the old one",
        [
            Change(
                f"{KAFKA}/topics.py",
                "        if seen is not None:\n            partitions",
                "        if False:\n            partitions",
            )
        ],
        [f"{INTEGRATION}/kafka/test_kafka_topics.py::test_a_deleted_topic_is_made_again_as_it_was"],
    ),
    Mutation(
        "a Kafka topic of one replica made among several brokers",
        [Change(f"{KAFKA}/topics.py", "and replicas < 2 and self._brokers > 1:", "and replicas < 2 and False:")],
        [f"{INTEGRATION}/kafka/test_kafka_topics.py::test_no_topic_of_one_replica_is_made_among_several_brokers"],
    ),
    Mutation(
        "a Kafka topic's id not looked at",
        [Change(f"{KAFKA}/seen.py", "if new != old and NO_ID not in (new, old):", "if False:")],
        [f"{INTEGRATION}/kafka/test_kafka_topics.py::test_a_topic_that_somebody_else_made_anew_is_told_of"],
    ),
    Mutation(
        "records that somebody deletes from a Kafka topic not noticed",
        [Change(f"{KAFKA}/removed.py", "if before is not None and first > before:", "if False:")],
        [f"{INTEGRATION}/kafka/test_kafka_removed.py::test_records_that_somebody_deletes_are_told_of"],
    ),
    Mutation(
        "Kafka's refused login kept to",
        [
            Change(f"{KAFKA}/reader.py", "self._refused = self._refused or error.code() in REFUSED", "pass"),
            Change(f"{KAFKA}/sink.py", "self._login.failed(reason_of(error))", "pass"),
            # Either a refusal or the files alone suffice, so that both are taken away.
            Change(f"{KAFKA}/login.py", "return self.settings.credentials() != self._used", "return False"),
        ],
        [
            f"{INTEGRATION}/kafka/test_kafka_login.py::test_a_reader_goes_on_with_what_was_renewed",
            f"{INTEGRATION}/kafka/test_kafka_login.py::test_a_bridge_goes_on_with_what_was_renewed",
        ],
    ),
    Mutation(
        "a position in a Kafka topic that was made anew gone by",
        [
            Change(f"{KAFKA}/begin.py", "and mark.topic != now.topic", "and False"),
            Change(f"{KAFKA}/begin.py", "if before is not None and before.topic != mark.topic:", "if False:"),
        ],
        [
            f"{INTEGRATION}/kafka/test_kafka_readers.py::test_a_topic_made_anew_that_a_reader_is_in_the_midst_of",
            f"{INTEGRATION}/kafka/test_kafka_readers.py::test_a_topic_made_anew_between_two_runs_of_a_group",
        ],
    ),
    Mutation(
        "Kafka's removed records passed over in silence",
        [
            Change(f"{KAFKA}/begin.py", "skipped=first - found.offset, to_commit", "to_commit"),
            Change(f"{KAFKA}/consumer.py", '"auto.offset.reset": "error"', '"auto.offset.reset": "earliest"'),
        ],
        [
            f"{INTEGRATION}/kafka/test_kafka_readers.py::test_a_retention_that_overtakes_a_group_is_told_of",
            f"{INTEGRATION}/kafka/test_kafka_readers.py::test_a_retention_that_overtakes_a_reader_is_told_of",
        ],
    ),
    Mutation(
        "a lost end of Kafka's log not noticed",
        [Change(f"{KAFKA}/removed.py", "if before is None or last >= before:", "if True:")],
        [f"{INTEGRATION}/kafka/test_kafka_ends.py::test_an_end_that_is_lost_is_told_of_and_a_group_begins_anew"],
    ),
    Mutation(
        "other events at the offsets that were read of Kafka's log gone by",
        [Change(f"{KAFKA}/lost.py", "and now.event != read[one].event", "and False")],
        [
            f"{INTEGRATION}/kafka/test_kafka_ends.py::test_an_end_that_is_lost_is_told_of_and_a_group_begins_anew",
            f"{INTEGRATION}/kafka/test_kafka_ends.py::test_a_log_that_grows_again_under_a_reader_is_read_anew",
        ],
    ),
    Mutation(
        "a transaction of somebody else hides what is behind it in Kafka",
        [
            Change(
                f"{KAFKA}/settings.py", '"isolation.level": "read_uncommitted"', '"isolation.level": "read_committed"'
            )
        ],
        [f"{INTEGRATION}/kafka/test_kafka_ends.py::test_a_transaction_of_somebody_else_hides_nothing_from_readers"],
    ),
    Mutation(
        "Kafka records beside one that cannot be read dropped",
        [Change(f"{KAFKA}/reader.py", "self._assignment.failed = exc", "raise")],
        [
            f"{UNIT}/sinks/kafka/test_kafka_reader.py::test_records_beside_a_partition_that_cannot_be_asked_for_are_handed_out"
        ],
    ),
    Mutation(
        "a SQLite table not tried once somebody has changed it",
        [Change(f"{SQLITE}/sink.py", "        trial.run(connection, self._path)\n", "")],
        [
            f"{INTEGRATION}/sqlite/test_sqlite_rules.py::test_a_table_that_numbers_nothing_stores_nothing",
            f"{INTEGRATION}/sqlite/test_sqlite_rules.py::test_a_rule_that_keeps_events_out_is_found_by_check",
        ],
    ),
    Mutation(
        "a removed SQLite file not noticed",
        [
            Change(
                f"{SQLITE}/file.py",
                "        if change is not None:\n            raise Left",
                "        if False:\n            raise Left",
            )
        ],
        [
            f"{INTEGRATION}/sqlite/test_sqlite_sink.py::test_a_removed_file_is_noticed",
            f"{INTEGRATION}/sqlite/test_sqlite_sink.py::test_a_file_removed_during_the_commit_is_noticed",
        ],
        ("sqlite", "SQLite's folder moved away"),
    ),
    Mutation(
        "a moved SQLite file not finished",
        [
            Change(
                f"{SQLITE}/file.py", "            if change is Change.FILE and moved_to:\n", "            if False:\n"
            )
        ],
        [
            f"{INTEGRATION}/sqlite/test_sqlite_moved.py::test_a_file_that_is_moved_is_finished_first",
            f"{INTEGRATION}/sqlite/test_sqlite_moved.py::test_a_file_that_is_moved_while_nothing_comes",
        ],
        ("sqlite", "SQLite's file moved"),
    ),
    Mutation(
        "the log of another file replayed",
        [
            Change(
                f"{SQLITE}/log.py",
                "            return Verdict.FOREIGN\n        if",
                "            return Verdict.OWN\n        if",
            )
        ],
        [
            f"{INTEGRATION}/sqlite/test_sqlite_left.py::test_a_restore_between_a_kill_and_a_start",
            f"{INTEGRATION}/sqlite/test_sqlite_left.py::test_who_only_looks_changes_nothing",
        ],
    ),
    Mutation(
        "a log without its file left to SQLite",
        [
            Change(
                f"{SQLITE}/leftovers.py",
                "verdict = Verdict.FOREIGN if empty else",
                "verdict = Verdict.OWN if empty else",
            )
        ],
        [f"{INTEGRATION}/sqlite/test_sqlite_left.py::test_a_log_without_its_file_is_put_aside"],
    ),
    Mutation(
        "a deleted SQLite log not saved",
        [Change(f"{SQLITE}/whereabouts.py", "            return Change.LOG\n", "            return None\n")],
        [f"{INTEGRATION}/sqlite/test_sqlite_moved.py::test_a_log_that_is_deleted_is_saved_from_its_handle"],
        ("sqlite", "SQLite's log deleted", "SQLite's file moved"),
    ),
    Mutation(
        "a SQLite log that was emptied or written over not noticed",
        [Change(f"{SQLITE}/frames.py", "                    return False\n", "                    return True\n")],
        [
            f"{INTEGRATION}/sqlite/test_sqlite_changed.py::test_a_log_that_is_written_over",
            f"{INTEGRATION}/sqlite/test_sqlite_changed.py::test_a_log_that_is_written_over_before_another_bridge_opens_it",
            f"{INTEGRATION}/sqlite/test_sqlite_changed.py::test_a_moved_file_gets_nothing_of_a_log_that_was_emptied",
        ],
    ),
    Mutation(
        "the last frame of SQLite's log alone looked at",
        [Change(f"{SQLITE}/frames.py", "before is None or before.salt != salt or self._holds(before)", "True")],
        [f"{INTEGRATION}/sqlite/test_sqlite_changed.py::test_a_log_that_is_written_over_between_check_and_commit"],
    ),
    Mutation(
        "another bridge's SQLite log put aside",
        [
            Change(
                f"{SQLITE}/file.py",
                "alone = now.shm is None and now.log == ours.log",
                "alone = now.log == ours.log",
            )
        ],
        [
            f"{INTEGRATION}/sqlite/test_sqlite_changed.py::test_a_log_that_is_written_over_before_another_bridge_opens_it"
        ],
    ),
    Mutation(
        "what a trigger keeps out of SQLite's table confirmed",
        [
            Change(f"{SQLITE}/sink.py", "changed != len(rows) and not trial.kept(connection, events)", "changed < 0"),
            Change(f"{SQLITE}/sink.py", "        trial.run(connection, self._path)\n", ""),
        ],
        [f"{INTEGRATION}/sqlite/test_sqlite_changed.py::test_a_trigger_that_keeps_events_out"],
    ),
    Mutation(
        "a SQLite file that was copied over not noticed",
        [
            Change(
                f"{SQLITE}/whereabouts.py", "                return Change.CONTENT\n", "                return None\n"
            )
        ],
        [f"{INTEGRATION}/sqlite/test_sqlite_moved.py::test_a_backup_that_is_restored_over_the_open_file"],
    ),
    Mutation(
        "the log written into a file that is not trusted",
        [
            Change(
                f"{SQLITE}/file.py",
                "        if finish:\n            self._close_guard()\n",
                "        self._close_guard()\n",
            )
        ],
        [f"{INTEGRATION}/sqlite/test_sqlite_moved.py::test_nothing_of_the_log_gets_into_a_file_that_was_copied_over"],
    ),
    Mutation(
        "one replica's clock believed",
        [
            Change(
                f"{SQLITE}/retention.py",
                "if own < clock or self._witnessed(connection, own):",
                "if True or self._witnessed(connection, own):",
            )
        ],
        [f"{INTEGRATION}/sqlite/test_sqlite_retention.py::test_a_replica_whose_clock_is_ahead_removes_nothing"],
    ),
    Mutation(
        "a position in a SQLite table that was begun anew gone by",
        [Change(f"{SQLITE}/anew.py", "    if read.seq <= 0:\n", "    if True:\n")],
        [
            f"{INTEGRATION}/sqlite/test_sqlite_anew.py::test_a_group_reads_a_table_that_was_begun_anew_from_its_beginning",
            f"{INTEGRATION}/sqlite/test_sqlite_anew.py::test_a_commit_of_what_was_read_before_moves_nothing_in_the_new_table",
        ],
    ),
    Mutation(
        "no id given to Redis",
        [
            Change(f"{REDIS}/commands.py", "(event_id, *values) if once else values", "values"),
            Change(f"{REDIS}/commands.py", "if once:\n            words", "if False:\n            words"),
        ],
        [f"{INTEGRATION}/redis/test_redis_once.py::test_written_twice_is_there_once"],
        ("redis", *["bridge killed while the stream is away", "replies dropped"] * 2),
        "twice",
    ),
    Mutation(
        "a quiet channel kept",
        [Change(f"{RABBITMQ}/source.py", "        if not held_bytes:\n", "        if False:\n")],
        [f"{INTEGRATION}/rabbitmq/test_amqp_source.py::test_a_consumer_that_the_broker_has_forgotten_is_made_anew"],
    ),
    Mutation(
        "the ends of frames not looked at",
        [
            Change(f"{RABBITMQ}/bulk.py", "and buffer[header_at - 1] == END\n", "\n"),
            Change(f"{RABBITMQ}/bulk.py", "and buffer[body_at - FRAME - 1] == END\n", "\n"),
        ],
        [f"{UNIT}/brokers/rabbitmq/test_bulk.py::test_a_malformed_frame_of_a_delivery_is_refused_alike"],
    ),
    Mutation(
        "a frame of another channel taken for a message's",
        [Change(f"{RABBITMQ}/bulk.py", "and channel == channel_2 == channel_3\n", "\n")],
        [f"{UNIT}/brokers/rabbitmq/test_bulk.py::test_a_malformed_frame_of_a_delivery_is_refused_alike"],
    ),
    Mutation(
        "deliveries taken in the midst of a message that py-amqp reads",
        [Change(f"{RABBITMQ}/bulk.py", "0 if self._unfinished else self._scanner.take", "self._scanner.take")],
        [f"{UNIT}/brokers/rabbitmq/test_bulk.py::test_a_delivery_in_the_midst_of_another_is_refused"],
    ),
    Mutation(
        "a cancelled consumer's delivery taken",
        [Change(f"{RABBITMQ}/bulk.py", "and buffer[at + PREFIX : tag_at] == lane.consumer_tag\n", "\n")],
        [f"{UNIT}/brokers/rabbitmq/test_bulk.py::test_the_same_deliveries_however_the_bytes_are_cut"],
    ),
    Mutation(
        "a reply cut in two not waited for",
        [Change(f"{REDIS}/replies.py", "._replies.feed(received)", ".__init__(); self._replies.feed(received)")],
        [f"{UNIT}/sinks/redis/test_redis_replies.py::test_however_the_bytes_are_cut"],
    ),
    Mutation(
        "a stop watched by Python's handler alone",
        [
            Change(
                "bridge/celery_event_bridge/process/signals.py",
                "signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)",
                "-1",
            )
        ],
        [f"{UNIT}/process/test_signals.py::test_a_call_that_no_signal_ends_is_cut_off"],
    ),
    Mutation(
        "a binding known to be there declared again",
        [Change(f"{RABBITMQ}/upkeep.py", "bind=answer is not Route.BOUND or lost, witness=lost", "witness=True")],
        [
            f"{INTEGRATION}/rabbitmq/test_deleted_queues.py::test_a_queue_that_is_made_anew_in_the_midst_of_a_look_is_told_of_by_the_next"
        ],
    ),
    Mutation(
        "an outage taken for a removed binding",
        [
            Change(
                f"{RABBITMQ}/upkeep.py",
                "now - max(self._heard_at, self._opened_at), now",
                "now - self._heard_at, now",
            ),
            Change(f"{RABBITMQ}/upkeep.py", "self._has_heard, self._opened_at = False,", "self._opened_at ="),
        ],
        [f"{INTEGRATION}/rabbitmq/test_others_on_rabbitmq.py::test_silences_that_an_outage_explains_are_no_gap"],
    ),
    Mutation(
        "credentials read again only where a refusal is told",
        [Change(f"{KAFKA}/reader.py", "if not (self._refused or self._login.differs()):", "if not self._refused:")],
        [
            f"{INTEGRATION}/kafka/test_kafka_login.py::test_a_reader_and_an_idle_sink_that_nobody_tells_of_a_refusal_read_what_was_renewed"
        ],
    ),
    Mutation(
        "the binding not declared again",
        [
            Change(
                f"{RABBITMQ}/upkeep.py",
                "self._declare(may_be_refused=True, bind=answer is not Route.BOUND or lost, witness=lost)\n",
                "pass\n",
            )
        ],
        [f"{INTEGRATION}/rabbitmq/test_others_on_rabbitmq.py::test_a_way_that_others_have_cut_is_made_again"],
    ),
    Mutation(
        "the witness not asked",
        [Change(f"{RABBITMQ}/upkeep.py", 'self.asking.exists(topology.witness, "fanout")', "True")],
        [f"{INTEGRATION}/rabbitmq/test_others_on_rabbitmq.py::test_a_way_that_others_have_cut_is_made_again"],
    ),
    Mutation(
        "the witness of the queue not asked",
        [Change(f"{RABBITMQ}/upkeep.py", 'self.asking.exists(topology.queue_witness, "fanout")', "True")],
        [
            f"{INTEGRATION}/rabbitmq/test_deleted_queues.py::test_a_queue_that_was_deleted_and_declared_at_once_is_told_of"
        ],
    ),
    Mutation(
        "a refused channel kept",
        [Change(f"{RABBITMQ}/bounded.py", "        self.collect()\n", "        super()._do_revive()\n")],
        [f"{INTEGRATION}/rabbitmq/test_others_on_rabbitmq.py::test_a_look_leaves_no_channel_behind"],
    ),
    Mutation(
        "what cannot be parked kept in memory",
        [Change(f"{FORWARD}/parker.py", "and parcel not in under_way:", "and False:")],
        [f"{UNIT}/forward/test_relay_parking.py::test_any_number_that_cannot_be_parked_holds_up_nobody"],
    ),
    Mutation(
        "a cumulative acknowledgement past one that is set aside",
        [Change(f"{FORWARD}/ledger.py", "            if lane.aside:\n", "            if False:\n")],
        [f"{UNIT}/forward/test_ledger.py::test_what_is_set_aside_takes_no_memory_and_holds_nothing_up"],
    ),
    Mutation(
        "what cannot be parked held in the live queue",
        [Change(f"{FORWARD}/parker.py", "leaves_after + TTL_MARGIN if leaves_after else None", "None")],
        [f"{UNIT}/forward/test_relay_parking.py::test_what_cannot_be_parked_leaves_the_live_queue"],
    ),
    Mutation(
        "what was set aside not given back before the last acknowledgement",
        [Change(f"{FORWARD}/relay.py", "            if back:\n", "            if False:\n")],
        [f"{UNIT}/forward/test_relay_stops.py::test_a_stop_gives_back_what_was_set_aside_first"],
    ),
    Mutation(
        "parked before the probe is answered",
        [Change(f"{RABBITMQ}/parking.py", "if not self._blocked and None not in confirms.waiting:", "if True:")],
        [f"{UNIT}/brokers/rabbitmq/test_parking_probe.py::test_nothing_is_published_before_the_probe_is_answered"],
    ),
    Mutation(
        "a confirm taken for more than it names",
        [Change(f"{RABBITMQ}/confirms.py", "waiting <= tag, self", "waiting <= tag + 1, self")],
        [f"{UNIT}/brokers/rabbitmq/test_confirms.py::test_against_a_naive_model"],
    ),
    Mutation(
        "more moved than fits",
        [Change(f"{RABBITMQ}/mover.py", "if waiting * mean + _size(batch) > self._bound:", "if False:")],
        [f"{INTEGRATION}/rabbitmq/test_queues_moved.py::test_no_more_is_moved_than_fits"],
    ),
    Mutation(
        "queues removed while messages wait for their dead-letter route",
        [Change(f"{RABBITMQ}/unready.py", "if not self._may_hold_back and not self._classic:", "if True:")],
        [
            f"{INTEGRATION}/rabbitmq/test_queues_moved.py::test_what_waits_for_its_dead_letter_route_is_not_removed",
            f"{INTEGRATION}/rabbitmq/test_queues_moved.py::test_what_waits_for_its_dead_letter_route_is_migrated_too",
        ],
    ),
    Mutation(
        "a read without the deadline of its call",
        [
            Change(
                f"{RABBITMQ}/bounded.py",
                "            transport.sock.settimeout(self._deadline.timeout())\n",
                "            pass\n",
            )
        ],
        [f"{UNIT}/brokers/rabbitmq/test_bounded.py::test_a_frame_that_trickles_in_ends_the_call_and_not_the_frame"],
    ),
    Mutation(
        "a queue of other arguments holds up all others",
        [
            Change(
                f"{RABBITMQ}/upkeep.py",
                "        except (PreconditionFailed, ResourceLocked) as exc:\n",
                "        except (PreconditionFailed, ResourceLocked) as exc:\n            raise\n",
            )
        ],
        [
            f"{INTEGRATION}/rabbitmq/test_differing_queues.py::test_live_events_are_stored_beside_an_overflow_queue_of_other_arguments",
        ],
    ),
    Mutation(
        "a drain taken for a purge",
        [Change(f"{RABBITMQ}/purged.py", "elif not traced:", "else:")],
        [f"{INTEGRATION}/rabbitmq/test_foreign_hands.py::test_what_other_bridges_have_taken_was_not_purged"],
    ),
    Mutation(
        "what holds up the last acknowledgement not given back before it",
        [Change(f"{FORWARD}/relay.py", "                self._source.give_back(held_up)\n", "")],
        [f"{UNIT}/forward/test_relay_stops.py::test_what_is_confirmed_during_a_stop_is_acknowledged"],
    ),
    Mutation(
        "a migration unbinds once",
        [
            Change(
                f"{RABBITMQ}/migration.py",
                "            broker.ask(unbind)  # a bridge",
                "            # a bridge",
            )
        ],
        [f"{INTEGRATION}/rabbitmq/test_queues_moved.py::test_a_migration_unbinds_what_others_bind_again"],
    ),
    Mutation(
        "an answer of the management API without its deadline",
        [Change(f"{RABBITMQ}/management.py", "asking.join(self._timeout)", "asking.join()")],
        [f"{UNIT}/brokers/rabbitmq/test_management.py::test_an_answer_that_trickles_in_ends_with_its_deadline"],
    ),
    Mutation(
        "a missing overflow queue holds up live events",
        [Change(f"{RABBITMQ}/lanes.py", "(AccessRefused, NotFound, ResourceLocked", "(AccessRefused, ResourceLocked")],
        [
            f"{INTEGRATION}/rabbitmq/test_kept_connections.py::test_a_queue_that_the_bridge_cannot_declare_is_told_of_and_live_events_are_received",
        ],
    ),
    Mutation(
        "what somebody has in hand removed with its queue",
        [Change(f"{RABBITMQ}/unready.py", "            if in_hand:\n", "            if False:\n")],
        [
            f"{INTEGRATION}/rabbitmq/test_queues_others.py::test_what_somebody_has_in_hand_is_not_removed",
        ],
    ),
    Mutation(
        "what nobody can see removed with its queue",
        [
            Change(
                f"{RABBITMQ}/unready.py",
                "        if self._classic:\n            # What",
                "        if False:\n            # What",
            )
        ],
        [
            f"{INTEGRATION}/rabbitmq/test_queues_others.py::test_what_nobody_can_see_is_not_removed",
        ],
    ),
    Mutation(
        "moved into a queue that a policy bounds",
        [Change(f"{RABBITMQ}/migration.py", "    _refuse_what_would_be_lost(broker, new)\n    broker", "    broker")],
        [
            f"{INTEGRATION}/rabbitmq/test_queues_others.py::test_nothing_is_moved_under_a_policy_that_the_api_shows",
        ],
    ),
    Mutation(
        "what was moved not counted where it went",
        [
            Change(
                f"{RABBITMQ}/mover.py", "                self._make_sure_that_it_is_there(before_it, len(batch))\n", ""
            )
        ],
        [
            f"{INTEGRATION}/rabbitmq/test_queues_others.py::test_a_migration_stops_where_the_new_queue_drops",
        ],
    ),
    Mutation(
        "an operator's bindings left behind by a migration",
        [Change(f"{RABBITMQ}/migration.py", "    broker.ask(others.carry_over)\n", "")],
        [
            f"{INTEGRATION}/rabbitmq/test_queues_others.py::test_bindings_of_an_operator_are_carried_over",
        ],
    ),
    Mutation(
        "a bridge of the old queue not told of a migration",
        [Change(f"{RABBITMQ}/migration.py", "    _mark(broker, old, new)\n    broker.ask(", "    broker.ask(")],
        [
            f"{INTEGRATION}/rabbitmq/test_migrated_away.py::test_a_migration_is_no_gap_of_the_bridge_that_it_takes_the_queue_from",
        ],
    ),
    Mutation(
        "a queue that was deleted taken for one that was moved",
        [
            Change(
                f"{RABBITMQ}/migration_marks.py",
                'Moving.BEGUN if asking.exists(topology.witness, "fanout") else Moving.DONE',
                "Moving.DONE",
            )
        ],
        [
            f"{INTEGRATION}/rabbitmq/test_migrated_away.py::test_a_queue_that_is_deleted_while_it_is_moved_is_told_of",
        ],
    ),
    Mutation(
        "a migration's new queue not looked at",
        [
            Change(
                f"{RABBITMQ}/management.py",
                "any(management.is_bound(name, topology.exchange) for name in management.bound_to(of_queue))",
                "bool(management.bound_to(of_queue))",
            )
        ],
        [
            f"{INTEGRATION}/rabbitmq/test_migrated_away.py::test_what_a_migration_does_not_explain_is_told_of",
        ],
    ),
    Mutation(
        "bridges that want other types not told of each other",
        [Change("bridge/celery_event_bridge/brokers/wanted.py", "    if tuple(types) == ALL:\n", "    if types:\n")],
        [
            f"{INTEGRATION}/rabbitmq/test_marks.py::test_bridges_that_want_other_types_are_told_of_each_other",
        ],
    ),
    Mutation(
        "a parking queue near its bound not told of",
        [Change(f"{RABBITMQ}/nearly_full.py", "    yield Bound(topology.rejected, drops, parked)\n", "")],
        [
            f"{INTEGRATION}/rabbitmq/test_poison.py::test_a_parking_queue_near_its_bound_is_told_of",
        ],
    ),
    Mutation(
        "a trace left by who cannot consume",
        [Change(f"{RABBITMQ}/lanes.py", "            self._overflow_refused = True\n", "")],
        [
            f"{INTEGRATION}/rabbitmq/test_foreign_hands.py::test_who_cannot_consume_overflow_leaves_no_trace",
        ],
    ),
    Mutation(
        "a replica taken for another stream than its master's",
        [Change(f"{REDIS}/client.py", "*([shared[1].decode()] if shared else [])", "")],
        [
            f"{INTEGRATION}/replay/test_replay_sinks.py::test_not_from_a_replica_into_its_master",
        ],
    ),
    Mutation(
        "what a deleted consumer had in hand forgotten",
        [Change(f"{REDIS}/vanished.py", "                if name not in there:\n", "                if False:\n")],
        [
            f"{INTEGRATION}/redis/test_redis_groups.py::test_a_dead_consumer_that_somebody_deletes",
        ],
    ),
    Mutation(
        "a setting that is refused for good waited out",
        [Change(f"{FORWARD}/relay.py", "if isinstance(exc, RefusedForGood) and not self._has_consumed:", "if False:")],
        [f"{UNIT}/forward/test_relay.py::test_a_setting_that_is_refused_for_good_ends_it_at_the_start"],
    ),
    Mutation(
        "a bridge that has consumed ended by another's queue",
        [Change(f"{FORWARD}/relay.py", " and not self._has_consumed:", ":")],
        [f"{UNIT}/forward/test_relay.py::test_a_setting_that_is_refused_for_good_ends_it_at_the_start"],
    ),
    Mutation(
        "the newest of one partition taken for the newest of all",
        [
            Change(
                "bridge/celery_event_bridge/cli/tail.py",
                "enough = is_all or (printer.matched >= count and found == last)",
                "enough = is_all or printer.matched >= count",
            )
        ],
        [f"{UNIT}/cli/test_newest.py::test_the_newest_are_those_of_all_partitions"],
    ),
    Mutation(
        "a file that everybody may read",
        [Change(f"{SQLITE}/file.py", "MODE = 0o600", "MODE = 0o644")],
        [f"{INTEGRATION}/sqlite/test_sqlite_sink.py::test_a_file_is_its_users_alone"],
    ),
    Mutation(
        "a bridge's mark at the exchange not asked for",
        [Change(f"{RABBITMQ}/loop_guard.py", "if _is_marked(connection, topology.mark):", "if False:")],
        [f"{INTEGRATION}/replay/test_replay_guard.py::test_not_where_the_queue_has_another_name"],
    ),
    Mutation(
        "events stored in a container's own file system",
        [Change(f"{SQLITE}/volume.py", "if not is_the_containers_own(path):", "if path:")],
        [f"{UNIT}/project/test_container_files.py::test_sqlite_in_the_image_needs_a_volume"],
    ),
    Mutation(
        "the witness of an earlier bridge not asked for at a start",
        [Change(f"{RABBITMQ}/witnesses.py", "    if was_here:\n", "    if False:\n")],
        [
            f"{INTEGRATION}/rabbitmq/test_deleted_before.py::test_queues_that_were_deleted_while_no_bridge_ran_are_told_of",
        ],
    ),
    Mutation(
        "a queue that is left no evidence of those that were deleted",
        [
            Change(
                f"{RABBITMQ}/witnesses.py",
                "return missing, missing if len(missing) < len(topology.queues) else set()",
                "return missing, set()",
            )
        ],
        [
            f"{INTEGRATION}/rabbitmq/test_deleted_before.py::test_any_queue_that_is_left_tells_of_those_that_were_deleted",
        ],
    ),
    Mutation(
        "a feature flag that is off not asked for",
        [
            Change(
                f"{RABBITMQ}/feature_flags.py", "        return OFF in str(exc.reply_text)\n", "        return False\n"
            )
        ],
        [
            f"{INTEGRATION}/rabbitmq/test_broker_conditions.py::test_a_feature_flag_that_is_off_is_told_of_until_it_is_on",
        ],
    ),
    Mutation(
        "an alarm not asked for",
        [Change(f"{RABBITMQ}/watches.py", "        self._alarms.look()\n", "")],
        [f"{INTEGRATION}/rabbitmq/test_broker_conditions.py::test_an_alarm_is_told_of_and_its_end"],
    ),
    Mutation(
        "one broker's queues remembered for another's",
        [
            Change(
                f"{RABBITMQ}/watches.py", "self.upkeep = self._upkeep_at(at)", 'self.upkeep = self._upkeep_at(("", ""))'
            )
        ],
        [
            f"{INTEGRATION}/rabbitmq/test_several_brokers.py::test_nothing_is_said_to_be_deleted_by_who_comes_to_another_broker",
        ],
    ),
    Mutation(
        "events left at a broker that nobody consumes",
        [Change(f"{RABBITMQ}/source.py", "            self._go_where_something_waits()\n", "")],
        [
            f"{INTEGRATION}/rabbitmq/test_several_brokers.py::test_a_bridge_goes_where_events_wait_that_nobody_consumes",
        ],
    ),
    Mutation(
        "a file of SQLite's that is mounted without its log written to",
        [Change(f"{SQLITE}/volume.py", "if is_mounted(real):", "if False:")],
        [f"{INTEGRATION}/sqlite/test_sqlite_names.py::test_a_file_that_is_mounted_without_its_directory_is_refused"],
    ),
    Mutation(
        "a file of SQLite's with another name written to",
        [Change(f"{SQLITE}/volume.py", "    if found.st_nlink > 1:\n", "    if False:\n")],
        [f"{INTEGRATION}/sqlite/test_sqlite_names.py::test_a_hard_link_is_refused_at_the_start_and_told_of_in_use"],
    ),
    Mutation(
        "the end of a Redis stream that is gone taken for reached",
        [
            Change(f"{REDIS}/ends.py", "missed += max(1, self._left[stream])", "missed += 0"),
            Change(f"{REDIS}/ends.py", "return End.GONE", "return End.REACHED"),
        ],
        [f"{INTEGRATION}/redis/test_redis_ends.py::test_a_stream_that_is_gone_before_its_end_was_read"],
    ),
    Mutation(
        "the end of a SQLite file's events that is gone taken for reached",
        [
            Change(f"{SQLITE}/reader.py", "skipped += max(1, gone.after(", "skipped += max(0, gone.after("),
            Change(f"{SQLITE}/reader.py", "            self._skipped += 1\n", "            pass\n"),
        ],
        [
            f"{INTEGRATION}/sqlite/test_sqlite_ends.py::test_the_last_events_alone_are_removed",
            f"{INTEGRATION}/sqlite/test_sqlite_ends.py::test_a_file_that_is_another_one_before_the_end_was_read",
        ],
    ),
    Mutation(
        "what was gone before it was read no failure of a command",
        [
            Change(f"{AUDIT}/report.py", "bool(told or self.skipped)", "bool(told)"),
            Change("bridge/celery_event_bridge/cli/replay.py", " or run.figures.gone)", ")"),
            Change(
                "bridge/celery_event_bridge/cli/tail.py",
                "_complain([in_all(printer.gone)])\n        return 1",
                "_complain([in_all(printer.gone)])\n        return 0",
            ),
        ],
        [
            f"{INTEGRATION}/sqlite/test_sqlite_ends.py::test_audit_says_what_was_gone",
            f"{INTEGRATION}/sqlite/test_sqlite_ends.py::test_replay_says_what_was_gone",
            f"{INTEGRATION}/sqlite/test_sqlite_ends.py::test_tail_says_what_was_gone",
        ],
    ),
    Mutation(
        "parked messages sent into a queue that loses what it confirms",
        [
            Change(
                f"{RABBITMQ}/destination.py",
                "if found := _differences(connection, management, queue):",
                "if found := {}:",
            )
        ],
        [f"{INTEGRATION}/rabbitmq/test_requeue_kept.py::test_nothing_is_sent_into_a_queue_of_somebodys"],
    ),
    Mutation(
        "parked messages sent under a policy that drops them",
        [
            Change(
                f"{RABBITMQ}/destination.py", "if text := next(iter(harm(queue, found)), ", "if text := next(iter(()), "
            )
        ],
        [f"{INTEGRATION}/rabbitmq/test_requeue_kept.py::test_nothing_is_sent_under_a_policy_that_the_api_shows"],
    ),
    Mutation(
        "parked messages taken out once they are confirmed, kept or not",
        [Change(f"{RABBITMQ}/destination.py", "while before is not None and (after", "while False and (after")],
        [f"{INTEGRATION}/rabbitmq/test_requeue_kept.py::test_what_is_not_kept_stays_parked"],
    ),
    Mutation(
        "what somebody undoes of a migration left undone",
        [Change(f"{RABBITMQ}/new_queues.py", "        self._broker.declare(self._new)\n", "")],
        [
            f"{INTEGRATION}/rabbitmq/test_migration_undone.py::test_what_is_undone_meanwhile_is_done_again",
            f"{INTEGRATION}/rabbitmq/test_migration_undone.py::test_a_binding_is_made_again_also_where_nobody_sees_it",
            f"{INTEGRATION}/rabbitmq/test_migration_undone.py::test_a_new_queue_of_somebodys_ends_it",
        ],
    ),
    Mutation(
        "what somebody removes under a tap not looked for",
        [Change(f"{RABBITMQ}/tap.py", "if self._deleted or time.monotonic() >= self._due:", "if False:")],
        [
            f"{INTEGRATION}/reading/test_tap_undone.py::test_with_the_management_api_a_removed_binding_is_known",
            f"{INTEGRATION}/reading/test_tap_undone.py::test_a_deleted_queue_is_replaced",
        ],
    ),
    Mutation(
        "what a killed bridge had in hand left in its folder",
        [Change(f"{KOMBU}/folder.py", "if each != self._own and each.is_dir()]:", "if False]:")],
        [
            f"{FOLDERS}::test_what_a_killed_bridge_had_in_hand_is_forwarded_by_the_next",
            f"{FOLDERS}::test_a_tap_sees_events_and_leaves_nothing",
        ],
    ),
    Mutation(
        "a file read before it is written to its end",
        [Change(f"{KOMBU}/folder.py", "return payload if time.monotonic() >= until else None", "return payload")],
        [f"{UNIT}/brokers/kombu/test_folder_queue.py::test_a_file_is_read_once_its_writer_is_done"],
    ),
    Mutation(
        "the lease's time counted from the answer",
        [Change(f"{BROKER_REDIS}/lease.py", "self._valid_until = asked_at + LEASE", "self._valid_until = now + LEASE")],
        [f"{UNIT}/brokers/redis/test_lease.py::test_its_time_counts_from_when_it_was_asked_for"],
    ),
    Mutation(
        "the lease held on across a new connection",
        [Change(f"{BROKER_REDIS}/lease.py", 'self._valid_until = float("-inf")\n        if run', "if run")],
        [f"{UNIT}/brokers/redis/test_lease.py::test_on_another_connection_it_is_not_held_until_the_server_says_so"],
    ),
    Mutation(
        "a holder that the server knows nothing of not waited for",
        [
            Change(
                f"{BROKER_REDIS}/lease.py",
                "            return now + LEASE\n        return now if",
                "            return now\n        return now if",
            )
        ],
        [f"{UNIT}/brokers/redis/test_lease.py::test_after_another_server_it_waits_for_one_that_it_cannot_see"],
    ),
    Mutation(
        "a lease that was deleted not waited out",
        [Change(f"{BROKER_REDIS}/lease.py", "max(now, self._renewed_since + LEASE)", "now")],
        [f"{UNIT}/brokers/redis/test_lease.py::test_a_lease_that_is_gone_too_early_is_waited_out"],
    ),
    Mutation(
        "marks kept across a hole",
        [Change(f"{BROKER_REDIS}/held.py", "        self._marks.clear()\n        self._numbers.clear()\n", "")],
        [f"{UNIT}/brokers/redis/test_held.py::test_a_mark_from_before_a_hole_is_no_place_behind_it"],
    ),
    Mutation(
        "the lease not looked at after a read",
        [
            Change(
                f"{BROKER_REDIS}/source.py",
                "            now = self._clock.monotonic()\n            if self._may_hand_out(now):\n",
                "            if self._may_hand_out(now):\n",
            )
        ],
        [f"{UNIT}/brokers/redis/test_source.py::test_who_stood_still_while_it_read_hands_out_nothing"],
    ),
    Mutation(
        "a read that waits after what it heard was answered",
        [
            Change(
                f"{BROKER_REDIS}/link.py",
                "        while read < MOST_AT_ONCE:\n            sock.settimeout(0.0)",
                "        sock.settimeout(0.0)\n        while read < MOST_AT_ONCE:\n            pass",
            )
        ],
        [f"{UNIT}/brokers/redis/test_link.py::test_what_is_answered_while_it_is_read_holds_up_nobody"],
    ),
    Mutation(
        "a foreign word on the bridges' channel ends them",
        [Change(f"{BROKER_REDIS}/control.py", "except (ValueError, RecursionError):", "except msgspec.DecodeError:")],
        [f"{UNIT}/brokers/redis/test_source.py::test_what_somebody_else_says_on_the_bridges_channel_is_passed_over"],
    ),
    Mutation(
        "a foreign entry in the list of what is parked ends `rejected`",
        [Change(f"{BROKER_REDIS}/parked.py", "except (ValueError, RecursionError):", "except msgspec.DecodeError:")],
        [f"{UNIT}/brokers/redis/test_requeue.py::test_what_somebody_else_has_put_into_the_list_is_shown_as_it_is"],
    ),
    Mutation(
        "a record that somebody has written into ends the connection",
        [
            Change(
                f"{BROKER_REDIS}/lease.py",
                'bytes(part).decode(errors="replace") for part in reply',
                "bytes(part).decode() for part in reply",
            )
        ],
        [f"{UNIT}/brokers/redis/test_lease.py::test_what_somebody_has_written_into_it_ends_no_connection"],
    ),
    Mutation(
        "a refused message no longer said once the lease is had",
        [
            Change(
                f"{BROKER_REDIS}/agreement.py",
                "        self._obstacles.pop(_LOOK, None)\n        if text",
                "        self._obstacles.clear()\n        if text",
            )
        ],
        [f"{UNIT}/brokers/redis/test_source.py::test_a_message_that_is_refused_stays_said_while_the_lease_is_not"],
    ),
    Mutation(
        "a damaged spool file ends the bridge",
        [
            Change(
                f"{BROKER_REDIS}/spool.py",
                "if type(exc) is not sqlite3.DatabaseError or self.file.database is None:",
                "if exc:",
            )
        ],
        [f"{UNIT}/brokers/redis/test_spool_damaged.py::test_a_file_that_is_damaged_is_put_aside_and_told_of"],
    ),
    Mutation(
        "what was in hand not put back at a lost connection",
        [
            Change(
                f"{BROKER_REDIS}/source.py",
                "self._consuming = self._pausing = self._cancelled = False\n        self._window.put_back()\n",
                "self._consuming = self._pausing = self._cancelled = False\n",
            )
        ],
        [f"{UNIT}/brokers/redis/test_source.py::test_what_was_in_hand_is_handed_out_again_after_a_lost_connection"],
    ),
    Mutation(
        "the last place of who forwards forgotten",
        [Change(f"{BROKER_REDIS}/agreement.py", "if message.position is not None:", "if True:")],
        [f"{UNIT}/brokers/redis/test_source.py::test_a_word_without_a_place_takes_none_back"],
    ),
    Mutation(
        "the record as of the last word, whatever was waiting",
        [Change(f"{BROKER_REDIS}/agreement.py", "int(age * 1000)", "0")],
        [
            f"{UNIT}/brokers/redis/test_source.py::test_the_record_says_since_when_something_is_not_confirmed",
            f"{UNIT}/brokers/redis/test_source.py::test_a_lease_given_up_on_a_new_connection_says_that_nothing_was_heard",
        ],
    ),
    Mutation(
        "a lower token passed over for ever",
        [Change(f"{BROKER_REDIS}/agreement.py", "self._token = min(self._token, found.token)", "pass")],
        [f"{UNIT}/brokers/redis/test_source.py::test_who_forwards_is_listened_to_though_tokens_have_begun_anew"],
    ),
    Mutation(
        "what is dropped counted as confirmed",
        [Change(f"{BROKER_REDIS}/held.py", "return min([self._lost_from, *firsts", "return min([self._head, *firsts")],
        [f"{UNIT}/brokers/redis/test_held.py::test_past_the_bound_the_oldest_are_dropped_and_counted_once"],
    ),
    Mutation(
        "starts that are gone of tasks that are over not counted by the audit",
        [Change(f"{AUDIT}/verdicts.py", "starts = max(0, task.runs - task.started)", "starts = 0")],
        [f"{UNIT}/audit/test_audit_tasks.py::test_what_is_missing_of_a_task"],
    ),
    Mutation(
        "what the heartbeats count believed from the second one on alone",
        [Change(f"{AUDIT}/account.py", "if beat.processed == 0:", "if False:")],
        [f"{UNIT}/audit/test_audit_account.py::test_whatever_is_missing_is_counted"],
    ),
    Mutation(
        "the broker's name left out of events",
        [Change(f"{FORWARD}/decode.py", "        kind,\n        broker,\n    )\n", "        kind,\n    )\n")],
        [f"{UNIT}/forward/test_relay_intake.py::test_each_event_has_the_brokers_name"],
    ),
    Mutation(
        "the broker's name in the id",
        [Change(f"{FORWARD}/decode.py", "digest.update(data)", 'digest.update(data + (broker or "").encode())')],
        [f"{UNIT}/forward/test_relay_intake.py::test_each_event_has_the_brokers_name"],
    ),
    Mutation(
        "the broker's name left out of Kafka's headers",
        [Change(f"{KAFKA}/records.py", "if broker is not None:", "if False:")],
        [f"{UNIT}/sinks/kafka/test_kafka_records.py::test_the_brokers_name_is_a_header_where_there_is_one"],
    ),
    Mutation(
        "one broker's headers of Kafka for all",
        [
            Change(
                f"{KAFKA}/records.py",
                "        self._kinds[kind] = headers\n",
                '        self._kinds |= {(*kind[:3], name): headers for name in (broker, None, "eu")}\n',
            )
        ],
        [f"{UNIT}/sinks/kafka/test_kafka_records.py::test_the_brokers_name_is_a_header_where_there_is_one"],
    ),
    Mutation(
        "the broker's name left out of Redis's entries",
        [Change(f"{REDIS}/commands.py", "        if broker is not None:", "        if False:")],
        [f"{UNIT}/sinks/redis/test_redis_stored.py::test_the_brokers_name_is_a_field_where_there_is_one"],
    ),
    Mutation(
        "the broker's name left out of an entry that is stored again",
        [Change(f"{REDIS}/commands.py", "        if event.broker is not None:", "        if False:")],
        [f"{UNIT}/sinks/redis/test_redis_stored.py::test_the_brokers_name_is_a_field_where_there_is_one"],
    ),
    Mutation(
        "the broker's name left out of SQLite's rows",
        [
            Change(
                f"{SQLITE}/table.py",
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, NULLIF(?9, ?9), ?10)",
            )
        ],
        [f"{INTEGRATION}/sqlite/test_sqlite_earlier.py::test_a_file_of_the_last_version_is_carried_over"],
    ),
    Mutation(
        "a SQLite file of the last version not carried over",
        [Change(f"{SQLITE}/table.py", "    if not names_brokers(connection):\n        connection.execute(ADD)\n", "")],
        [
            f"{INTEGRATION}/sqlite/test_sqlite_earlier.py::test_a_file_of_the_last_version_is_carried_over",
            f"{INTEGRATION}/sqlite/test_sqlite_earlier.py::test_an_earlier_copy_that_is_put_into_a_file_in_use_is_carried_over",
        ],
    ),
    Mutation(
        "the column for brokers counted on by readers",
        [Change(f"{SQLITE}/table.py", '("broker" if names_brokers(connection) else "NULL")', '"broker"')],
        [f"{INTEGRATION}/sqlite/test_sqlite_earlier.py::test_a_reader_takes_a_file_of_the_last_version_as_it_is"],
    ),
    Mutation(
        "the column for brokers looked for once",
        [
            Change(
                f"{SQLITE}/reader.py",
                "= version, ROWS.format(columns=table.read(connection))",
                "= version, self._select or ROWS.format(columns=table.read(connection))",
            )
        ],
        [
            f"{INTEGRATION}/sqlite/test_sqlite_earlier.py::test_a_reader_sees_names_from_the_moment_on_that_there_are_any"
        ],
    ),
    Mutation(
        "another program's table given a column",
        [Change(f"{SQLITE}/table.py", "    connection.execute(EARLIER)\n", "")],
        [f"{INTEGRATION}/sqlite/test_sqlite_earlier.py::test_another_programs_table_gets_no_column"],
    ),
    Mutation(
        "the pick by broker ignored by a reader",
        [
            Change(
                "bridge/celery_event_bridge/reading/session.py",
                "(named and self._wanted(record.type))",
                "self._wanted(record.type)",
            )
        ],
        [
            f"{UNIT}/reading/test_brokers.py::test_brokers_are_picked_by_name",
            f"{UNIT}/reading/test_brokers.py::test_events_of_other_brokers_are_committed_with_those_picked",
        ],
    ),
    Mutation(
        "an event of another broker taken for a duplicate",
        [
            Change(
                "bridge/celery_event_bridge/reading/duplicates.py",
                " or (self.among is not None and not self.among(record.broker))",
                "",
            )
        ],
        [
            f"{UNIT}/reading/test_brokers.py::test_an_event_that_another_broker_had_before_is_no_duplicate_of_it",
            f"{UNIT}/reading/test_brokers.py::test_who_picks_by_broker_himself_gets_the_copies_of_all",
        ],
    ),
    Mutation(
        "the pick by broker ignored by tail",
        [Change("bridge/celery_event_bridge/cli/lines.py", "not (of_type and named)", "not of_type")],
        [f"{UNIT}/cli/test_lines.py::test_brokers_are_picked_by_name"],
    ),
    Mutation(
        "the pick by broker ignored by audit",
        [Change("bridge/celery_event_bridge/cli/audit.py", '            broker=given["brokers"],\n', "")],
        [f"{INTEGRATION}/reading/test_shared_stream.py::test_audit_picks_by_broker"],
    ),
    Mutation(
        "the pick by broker ignored by replay",
        [Change("bridge/celery_event_bridge/replay/loop.py", "not (wanted and named)", "not wanted")],
        [f"{UNIT}/replay/test_replay_loop.py::test_what_is_passed_over_is_committed_with_the_rest"],
    ),
    Mutation(
        "the broker's name left out by replay",
        [
            Change(
                "bridge/celery_event_bridge/replay/pick.py",
                '{"hostname": record.source}, record.broker)',
                '{"hostname": record.source})',
            )
        ],
        [f"{UNIT}/replay/test_replay_order.py::test_an_event_keeps_the_name_of_its_broker"],
    ),
    Mutation(
        "a node of a Redis Cluster taken for a broker",
        [Change(f"{BROKER_REDIS}/server.py", "if mode == kind:", "if not mode:")],
        [f"{REDIS_BROKER}/test_redis_broker_check.py::test_a_node_of_a_cluster_is_refused"],
    ),
    Mutation(
        "a write tried before the one that memory is refused to",
        [Change(f"{BROKER_REDIS}/rights.py", "try('TIME')\n", "try('TIME')\ntry('PEXPIRE', key, 1)\n")],
        [f"{REDIS_BROKER}/test_redis_broker_check.py::test_memory_that_is_used_up"],
    ),
    Mutation(
        "a right of the lease not tried",
        [Change(f"{BROKER_REDIS}/rights.py", "  try('HSET', key, 'f', 'v')\n", "")],
        [f"{REDIS_BROKER}/test_redis_broker_check.py::test_a_right_that_is_lacking_is_named"],
    ),
    Mutation(
        "the certificate of a Redis broker not verified, as Celery does",
        [Change(f"{BROKER_REDIS}/link.py", '{"ssl_cert_reqs": "required", ', '{"ssl_cert_reqs": "none", ')],
        [f"{UNIT}/brokers/redis/test_address.py::test_tls_of_a_server_is_verified_unless_it_is_said"],
    ),
    Mutation(
        "another one's lease taken for the own, as the last word is",
        [
            Change(
                f"{BROKER_REDIS}/lease.py",
                "if before is not None and before.owner == before.said == self.owner:",
                "if before is not None and before.said == self.owner:",
            )
        ],
        [f"{UNIT}/brokers/redis/test_lease.py::test_another_one_that_has_taken_it_and_said_nothing_yet_is_waited_for"],
    ),
    Mutation(
        "what who forwards has not heard not said",
        [Change(f"{BROKER_REDIS}/agreement.py", "window.silences.told(now, age)", "()")],
        [f"{UNIT}/brokers/redis/test_again.py::test_who_was_cut_off_says_from_where_to_where"],
    ),
    Mutation(
        "a silence that begins with the next subscription",
        [Change(f"{BROKER_REDIS}/source.py", "            self._window.cut()\n", "")],
        [f"{UNIT}/brokers/redis/test_again.py::test_what_arrives_while_it_subscribes_is_no_end_of_its_silence"],
    ),
    Mutation(
        "what who forwards has not heard dropped as confirmed",
        [
            Change(
                f"{BROKER_REDIS}/held.py",
                "            if _is_in(self._head, spans):\n                self.aside.add(entry)\n",
                "",
            )
        ],
        [
            f"{UNIT}/brokers/redis/test_silences.py::test_what_who_forwards_has_not_heard_is_set_aside",
            f"{UNIT}/brokers/redis/test_silences.py::test_nothing_that_one_has_not_heard_is_dropped_by_another",
            f"{UNIT}/brokers/redis/test_again.py::test_it_is_published_again_once",
        ],
    ),
    Mutation(
        "what came back dropped as confirmed, heard there or not",
        [
            Change(
                f"{BROKER_REDIS}/held.py",
                "            if _is_in(one.tag, spans):\n                self.aside.add(one)\n",
                "",
            )
        ],
        [f"{UNIT}/brokers/redis/test_silences.py::test_what_was_handed_out_and_came_back_is_set_aside"],
    ),
    Mutation(
        "a place counted across an own silence",
        [
            Change(
                f"{BROKER_REDIS}/silences.py",
                "last = max(known[0] + other.end.events, own[max(0, known[1] - self._forgotten - 1)].number)",
                "last = known[0] + other.end.events",
            )
        ],
        [f"{UNIT}/brokers/redis/test_silences.py::test_nothing_that_one_has_not_heard_is_dropped_by_another"],
    ),
    Mutation(
        "an unknown place bounded by time at any server",
        [Change(f"{BROKER_REDIS}/silences.py", 'if one.run == run != "":', "if True:")],
        [
            f"{UNIT}/brokers/redis/test_silences.py::test_a_mark_that_is_not_known_is_placed_by_the_server_that_it_was_published_at"
        ],
    ),
    Mutation(
        "what is set aside not counted to the bound",
        [
            Change(
                f"{BROKER_REDIS}/held.py",
                "if self.waiting_bytes + self.aside.bytes > self._max_bytes:\n            self._drop_oldest()",
                "if self.waiting_bytes > self._max_bytes:\n            self._drop_oldest()",
            )
        ],
        [
            f"{UNIT}/brokers/redis/test_silences.py::test_what_is_set_aside_counts_to_the_bound_and_goes_first",
            f"{UNIT}/brokers/redis/test_again.py::test_what_is_dropped_for_want_of_room_is_told_of",
        ],
    ),
    Mutation(
        "published again by all at once",
        [
            Change(
                f"{BROKER_REDIS}/aside.py", "return owner == self._owner == self._holder", "return owner == self._owner"
            )
        ],
        [
            f"{UNIT}/brokers/redis/test_again.py::test_what_another_one_publishes_again_is_left_to_it",
            f"{UNIT}/brokers/redis/test_again.py::test_a_turn_that_is_not_used_ends",
        ],
    ),
    Mutation(
        "a turn that is not used kept for ever",
        [
            Change(
                f"{BROKER_REDIS}/aside.py", "return not self._holder or now >= self._until", "return not self._holder"
            )
        ],
        [f"{UNIT}/brokers/redis/test_again.py::test_a_turn_that_is_not_used_ends"],
    ),
    Mutation(
        "what another one has published again published once more",
        [
            Change(
                f"{BROKER_REDIS}/aside.py",
                "        if self.events:\n            self._pop(",
                "        if not self.events:\n            self._pop(",
            )
        ],
        [
            f"{UNIT}/brokers/redis/test_again.py::test_what_another_one_publishes_again_is_left_to_it",
            f"{UNIT}/brokers/redis/test_silences.py::test_what_was_handed_out_and_came_back_is_set_aside",
        ],
    ),
    Mutation(
        "published again without a pause, heard or not",
        [Change(f"{BROKER_REDIS}/agreement.py", "if len(aside.events) != self._aside_before:", "if True:")],
        [
            f"{UNIT}/brokers/redis/test_again.py::test_what_is_published_and_not_heard_is_published_again_slowly_and_not_for_ever"
        ],
    ),
    Mutation(
        "what is set aside gone with a stop",
        [
            Change(
                f"{BROKER_REDIS}/source.py",
                "            if aside.events:\n                agreement.attend(now, wants=False)\n",
                "",
            )
        ],
        [f"{UNIT}/brokers/redis/test_again.py::test_a_stop_leaves_it_to_the_others"],
    ),
    Mutation(
        "a parked message taken out that who forwards has not heard",
        [
            Change(
                f"{BROKER_REDIS}/parked.py",
                "            if self._window.aside.events:",
                "            if not self._window.aside:",
            )
        ],
        [f"{UNIT}/brokers/redis/test_requeue.py::test_what_who_forwards_has_not_heard_stays_in_the_list"],
    ),
    Mutation(
        "what is to be set aside dropped in the file",
        [
            Change(
                f"{BROKER_REDIS}/spooled.py",
                "if any(first < number and last > self._tail for first, last in spans):",
                "if False:",
            )
        ],
        [f"{UNIT}/brokers/redis/test_spooled.py::test_what_is_set_aside_comes_out_of_the_file_by_parts"],
    ),
    Mutation(
        "a gap told of that another one has heard",
        [Change(f"{BROKER_REDIS}/gaps.py", "left = both(left, other.unheard)", "left = [*left]")],
        [
            f"{UNIT}/brokers/redis/test_gaps.py::test_what_another_one_has_heard_is_no_gap",
            f"{UNIT}/brokers/redis/test_gaps.py::test_parts_that_several_have_heard_add_up",
        ],
    ),
    Mutation(
        "what was heard by one that says nothing any more no gap",
        [Change(f"{BROKER_REDIS}/gaps.py", "if now - one.at <= ABSENT}", "}")],
        [f"{UNIT}/brokers/redis/test_gaps.py::test_who_says_nothing_for_a_while_is_waited_for"],
    ),
    Mutation(
        "one that says nothing for a moment not waited for",
        [Change(f"{BROKER_REDIS}/gaps.py", "may_change = len(alive) < len(self._others) or ", "may_change = ")],
        [f"{UNIT}/brokers/redis/test_gaps.py::test_who_says_nothing_for_a_while_is_waited_for"],
    ),
    Mutation(
        "words that wait after a standstill taken for silence",
        [Change(f"{BROKER_REDIS}/gaps.py", "other.at += now - self._looked", "pass")],
        [f"{UNIT}/brokers/redis/test_gaps.py::test_who_stood_still_itself_reads_first_what_the_others_have_said"],
    ),
    Mutation(
        "a gap told of while some of it is still to come",
        [Change(f"{BROKER_REDIS}/gaps.py", " or any(one.aside for one in alive)", "")],
        [f"{UNIT}/brokers/redis/test_gaps.py::test_while_another_one_has_not_published_all_again_nothing_is_told"],
    ),
    Mutation(
        "what who forwards has stored told of as a gap",
        [Change(f"{BROKER_REDIS}/gaps.py", "self.stored(*self._stored)", "pass")],
        [
            f"{UNIT}/brokers/redis/test_gaps.py::test_what_who_forwards_has_heard_and_stored_is_no_gap",
            f"{UNIT}/brokers/redis/test_gaps.py::test_who_has_come_later_knows_of_gaps_that_wait",
        ],
    ),
    Mutation(
        "what is set aside taken for stored",
        [Change(f"{BROKER_REDIS}/gaps.py", "if forwards and not message.aside:", "if forwards:")],
        [f"{UNIT}/brokers/redis/test_gaps.py::test_what_is_set_aside_is_not_stored_yet"],
    ),
    Mutation(
        "a word on another server taken for one on this",
        [
            Change(
                f"{BROKER_REDIS}/gaps.py",
                "self._stored, self._came, self._said_apart = (-EVER, []), now, []",
                "self._came, self._said_apart = now, []",
            )
        ],
        [f"{UNIT}/brokers/redis/test_gaps.py::test_a_word_on_another_server_says_nothing_of_this_one"],
    ),
    Mutation(
        "a gap told of by each that knows of it",
        [Change(f"{BROKER_REDIS}/gaps.py", "one.left = unlike(one.left, told)", "pass")],
        [f"{UNIT}/brokers/redis/test_gaps.py::test_what_another_one_has_told_is_told_once"],
    ),
    Mutation(
        "a gap let go of by who does not forward",
        [
            Change(
                f"{BROKER_REDIS}/gaps.py",
                "        if not (tells and left):\n            return False\n        one.left = []",
                "        one.left = []\n        if not (tells and left):\n            return False",
            )
        ],
        [f"{UNIT}/brokers/redis/test_gaps.py::test_the_others_keep_a_gap_until_it_is_told"],
    ),
    Mutation(
        "a time told of twice",
        [Change(f"{BROKER_REDIS}/gaps.py", "        self._remember(left, now)\n        tell_of", "        tell_of")],
        [f"{UNIT}/brokers/redis/test_gaps.py::test_no_time_is_told_of_twice"],
    ),
    Mutation(
        "all that was before the first bridge a gap",
        [Change(f"{BROKER_REDIS}/gaps.py", "if begin > -EVER / 2]", "]")],
        [f"{UNIT}/brokers/redis/test_gaps.py::test_nothing_is_missed_where_nobody_has_forwarded_before"],
    ),
    Mutation(
        "a time without a server a gap",
        [
            Change(
                f"{BROKER_REDIS}/gaps.py",
                "[*self._away, *(times for _, times in self._told)])",
                "[times for _, times in self._told])",
            )
        ],
        [f"{UNIT}/brokers/redis/test_gaps.py::test_while_there_is_no_server_nothing_is_lost"],
    ),
    Mutation(
        "a server that refused taken for away though it was there",
        [Change(f"{BROKER_REDIS}/away.py", "if youngest < self._last and not self._sentinels:", "if False:")],
        [f"{UNIT}/brokers/redis/test_away.py::test_a_server_that_was_there_all_the_while_may_have_been_published_to"],
    ),
    Mutation(
        "a network that is cut taken for a server that is away",
        [Change(f"{BROKER_REDIS}/away.py", "isinstance(each, ConnectionRefusedError)", "isinstance(each, Exception)")],
        [f"{UNIT}/brokers/redis/test_away.py::test_a_network_that_is_cut_proves_nothing"],
    ),
    Mutation(
        "sentinels that do not answer taken for such that name none",
        [Change(f"{BROKER_REDIS}/away.py", ' and str(each).count(" - ") < self._sentinels', "")],
        [f"{UNIT}/brokers/redis/test_away.py::test_no_master_is_none_to_publish_to_if_a_sentinel_has_said_so"],
    ),
    Mutation(
        "a gap at another server from the last that was confirmed there",
        [Change(f"{BROKER_REDIS}/away.py", "seen.record.renewed_at if seen.token in self.tokens else 0.0", "0.0")],
        [f"{UNIT}/brokers/redis/test_away.py::test_what_was_published_beside_us_began_after_what_both_servers_knew"],
    ),
    Mutation(
        "a gap longer than its server was there",
        [Change(f"{BROKER_REDIS}/away.py", "seconds = min(seconds, self.uptime + INEXACT)", "pass")],
        [f"{UNIT}/brokers/redis/test_away.py::test_what_was_published_beside_us_began_after_what_both_servers_knew"],
    ),
    Mutation(
        "gaps that wait not in the record",
        [Change(f"{BROKER_REDIS}/agreement.py", "written(self.gaps.unheard(now), age)", '""')],
        [f"{UNIT}/brokers/redis/test_source.py::test_who_tells_of_a_gap_says_so_to_the_others"],
    ),
    Mutation(
        "what was told not said",
        [Change(f"{BROKER_REDIS}/agreement.py", "self.gaps.told(now), self._peers", "(), self._peers")],
        [
            f"{UNIT}/brokers/redis/test_source.py::test_who_tells_of_a_gap_says_so_to_the_others",
            f"{UNIT}/brokers/redis/test_source.py::test_the_last_word_of_who_ends_says_what_it_has_told",
        ],
    ),
    Mutation(
        "a gap from the last mark on, though events came after it",
        [Change(f"{BROKER_REDIS}/source.py", "self._heard_at = self._read_at\n        now", "pass\n        now")],
        [f"{UNIT}/brokers/redis/test_source.py::test_an_event_shows_that_all_before_it_was_heard"],
    ),
    Mutation(
        "a silence told of for a minute alone, though nothing is confirmed",
        [Change(f"{BROKER_REDIS}/silences.py", "max(KEPT, age)", "KEPT")],
        [f"{UNIT}/brokers/redis/test_silences.py::test_many_silences_become_fewer_that_are_longer"],
    ),
    Mutation(
        "a source that loses what it does not hear left alone for as long as others",
        [Change("bridge/celery_event_bridge/contract/broker.py", "min(usual, ", "max(usual, ")],
        [f"{UNIT}/forward/test_urgent.py::test_an_urgent_source_is_tried_again_soon"],
    ),
    Mutation(
        "a spool file that cannot be written taken for a lost connection",
        [
            Change(
                f"{BROKER_REDIS}/spool.py",
                "len(self._buffer) >= BUFFER and not self.write()",
                "len(self._buffer) >= BUFFER and self.flush()",
            )
        ],
        [
            f"{UNIT}/brokers/redis/test_spool_damaged.py::test_a_file_that_cannot_be_written_drops_what_has_no_room_and_ends_no_subscription"
        ],
    ),
    Mutation(
        "a shard's consumer cancelled at a stop",
        [
            Change(
                f"{RABBITMQ}/shard_lane.py",
                "        self.leave()\n        # Asked",
                "        self.cancel()\n        # Asked",
            )
        ],
        [f"{UNIT}/brokers/rabbitmq/test_shard_lane.py::test_nothing_cancels_it"],
    ),
    Mutation(
        "a shard's consumer cancelled by the budget",
        [
            Change(
                f"{RABBITMQ}/shard_lane.py",
                '        """Change nothing: where the budget is used up, it leaves."""\n',
                "        super().adjust(room)\n",
            )
        ],
        [f"{UNIT}/brokers/rabbitmq/test_shard_lane.py::test_nothing_cancels_it"],
    ),
    Mutation(
        "a shard's prefetch that differs",
        [
            Change(
                f"{RABBITMQ}/shard_lane.py", "        return SHARD_PREFETCH\n", "        return self.window.prefetch\n"
            )
        ],
        [f"{UNIT}/brokers/rabbitmq/test_shard_lane.py::test_all_that_stand_in_line_have_the_same_prefetch"],
    ),
    Mutation(
        "in order, given back singly at a stop",
        [Change(f"{FORWARD}/relay.py", "() if self._driver.ordered else ", "")],
        [f"{UNIT}/forward/test_relay_stops.py::test_in_an_order_a_stop_gives_back_by_closing_alone"],
    ),
    Mutation(
        "a shard's lane that stands by replaced",
        [
            Change(
                f"{RABBITMQ}/shard_lane.py",
                '        """Tell nothing: who stands by is quiet."""\n        return False\n',
                "        return super().was_quiet()\n",
            )
        ],
        [f"{UNIT}/brokers/rabbitmq/test_shard_lane.py::test_a_lane_that_nothing_comes_on_stands_by"],
    ),
    Mutation(
        "a shard handed over with messages in hand",
        [
            Change(
                f"{RABBITMQ}/shard_lane.py",
                "return self._acknowledged + len(self._singly) >= self._taken",
                "return True",
            )
        ],
        [f"{UNIT}/brokers/rabbitmq/test_shard_lane.py::test_it_is_empty_once_all_that_it_has_taken_is_acknowledged"],
    ),
    Mutation(
        "more shards kept than is fair",
        [
            Change(
                f"{RABBITMQ}/share_out.py",
                "            own[queue].leave()\n        consumers",
                "            pass\n        consumers",
            )
        ],
        [f"{INTEGRATION}/rabbitmq/test_shards.py::test_shares_are_even_when_replicas_come_and_go"],
    ),
    Mutation(
        "a shard without a consumer left alone",
        [Change(f"{RABBITMQ}/balance.py", "if looks >= LOOKS", "if False")],
        [f"{UNIT}/brokers/rabbitmq/test_balance.py::test_a_consumer_that_is_gone_is_made_anew"],
    ),
    Mutation(
        "shards that expire",
        [Change(f"{RABBITMQ}/topology.py", "        elif settings.queue_ttl:\n", "        if settings.queue_ttl:\n")],
        [f"{UNIT}/brokers/rabbitmq/test_shards_topology.py::test_in_order_nothing_expires_and_one_consumer_is_active"],
    ),
    Mutation(
        "shards with many active consumers",
        [
            Change(
                f"{RABBITMQ}/topology.py", '            live["x-single-active-consumer"] = True\n', "            pass\n"
            )
        ],
        [
            f"{UNIT}/brokers/rabbitmq/test_shards_topology.py::test_in_order_nothing_expires_and_one_consumer_is_active",
            f"{INTEGRATION}/rabbitmq/test_shards.py::test_each_workers_events_stay_in_order_whoever_dies",
        ],
    ),
    Mutation(
        "queues of former settings left alone",
        [Change(f"{RABBITMQ}/source.py", "        self._lanes.take_former()\n", "")],
        [f"{INTEGRATION}/rabbitmq/test_shards.py::test_another_number_of_shards_is_a_restart"],
    ),
    Mutation(
        "queues that others consume unbound",
        [
            Change(
                f"{RABBITMQ}/former.py", "            if asking.consumers[former.name]:\n                continue\n", ""
            )
        ],
        [f"{UNIT}/brokers/rabbitmq/test_former.py::test_what_others_consume_is_left_to_them"],
    ),
    Mutation(
        "another deployment's queue taken for a former shard",
        [Change(f"{RABBITMQ}/former.py", 'asking.depth(f"{shard}.rejected") is not None', "False")],
        [f"{UNIT}/brokers/rabbitmq/test_former.py::test_a_queue_with_parking_of_its_own_is_another_deployments"],
    ),
    Mutation(
        "in order, what comes back behind what is new",
        [Change(f"{FORWARD}/driver.py", "        if self._again and self.ordered:\n", "        if False:\n")],
        [f"{UNIT}/forward/test_driver.py::test_in_order_what_comes_back_goes_ahead_in_its_first_order"],
    ),
    Mutation(
        "in order, verdicts not waited for",
        [Change(f"{FORWARD}/driver.py", "or (self.ordered and self._again and self.handed)", "")],
        [f"{UNIT}/forward/test_driver.py::test_in_order_what_comes_back_goes_ahead_in_its_first_order"],
    ),
    Mutation(
        "a relay that does not ask for order",
        [Change(f"{FORWARD}/relay.py", "ordered=is_ordered(source)", "ordered=False")],
        [f"{UNIT}/forward/test_relay_in_order.py::test_what_comes_back_goes_again_alone_and_in_its_first_order"],
    ),
    Mutation(
        "a sink that keeps no order taken",
        [
            Change(
                f"{CONFIG}/loading.py",
                "            if not isinstance(plugin, OrderedPlugin):\n",
                "            if False:\n",
            )
        ],
        [f"{UNIT}/config/test_third_parties.py::test_a_sink_that_keeps_no_order_is_refused_where_one_is_promised"],
    ),
    Mutation(
        "a batch in order without a transaction: Redis",
        [
            Change(
                f"{REDIS}/in_order.py",
                "self._client.exchange_packed((MULTI,), 1)",
                'self._client.exchange_packed((b"*1\\r\\n$4\\r\\nPING\\r\\n",), 1)',
            )
        ],
        [f"{INTEGRATION}/redis/test_redis_in_order.py::test_one_command_that_redis_does_not_take_leaves_all_undone"],
    ),
    Mutation(
        "a transaction whose beginning is not waited for: Redis",
        [
            Change(
                f"{REDIS}/in_order.py",
                "        if isinstance(begun[0], ResponseError):\n            return begun * len(commands), None\n",
                "",
            )
        ],
        [f"{INTEGRATION}/redis/test_redis_in_order.py::test_without_a_transaction_nothing_is_carried_out"],
    ),
    Mutation(
        "a gap left in the order: Kafka",
        [
            Change(f"{KAFKA}/in_order.py", "        self._fatal = self._fatal or reason\n", ""),
            Change(f"{KAFKA}/in_order.py", '{"enable.gapless.guarantee": "true"}', "{}"),
        ],
        [f"{INTEGRATION}/kafka/test_kafka_in_order.py"],
    ),
    Mutation(
        "an event that is refused alone sent for ever: Kafka",
        [
            Change(
                f"{KAFKA}/in_order.py",
                "        if code in PERMANENT and (alone or message is None):\n",
                "        if code in PERMANENT and message is None:\n",
            )
        ],
        [f"{INTEGRATION}/kafka/test_kafka_in_order.py::test_an_event_that_is_too_large_is_refused_and_in_nobodys_way"],
    ),
    Mutation(
        "replicas of a Redis broker with other types or names not told of each other",
        [
            Change(f"{BROKER_REDIS}/agreement.py", "        self._peers.heard(message, now)\n", ""),
        ],
        [
            f"{UNIT}/brokers/redis/test_peers.py::test_other_settings_of_what_is_stored_are_told_of_once",
            f"{UNIT}/brokers/redis/test_peers.py::test_it_is_over_when_nobody_says_so_any_more",
        ],
    ),
    Mutation(
        "a deleted spool file written on",
        [
            Change(
                f"{BROKER_REDIS}/spooled.py",
                "            self._spool.see_to_file()\n            self.adopt(now)",
                "            self.adopt(now)",
            ),
        ],
        [
            f"{UNIT}/brokers/redis/test_spool_deleted.py::test_what_was_in_a_file_that_is_deleted_is_carried_over",
            f"{UNIT}/brokers/redis/test_spool_deleted.py::test_a_lock_that_is_deleted_lets_nobody_take_the_file",
        ],
    ),
    Mutation(
        "a spool file deleted before the end lost with it",
        [
            Change(
                f"{BROKER_REDIS}/spooled.py",
                "        self._spool.see_to_file()\n        self.put_back(now)",
                "        self.put_back(now)",
            ),
        ],
        [
            f"{UNIT}/brokers/redis/test_spool_deleted.py::test_a_file_that_is_deleted_shortly_before_the_end_is_carried_over",
        ],
    ),
    Mutation(
        "a spool file whose lock is deleted taken from its bridge",
        [
            Change(
                f"{BROKER_REDIS}/spool.py", '                    other.execute("PRAGMA locking_mode=EXCLUSIVE")\n', ""
            ),
        ],
        [
            f"{UNIT}/brokers/redis/test_spool_deleted.py::test_a_lock_that_is_deleted_lets_nobody_take_the_file",
        ],
    ),
    Mutation(
        "of parked messages that are alike one taken out",
        [
            Change(f"{BROKER_REDIS}/parked.py", "*each[::-1])", "1, each[0])"),
        ],
        [
            f"{UNIT}/brokers/redis/test_requeue.py::test_each_of_several_that_are_alike_is_sent_and_taken_out",
            f"{UNIT}/brokers/redis/test_requeue.py::test_each_of_several_that_are_alike_is_shown_and_purged",
        ],
    ),
    Mutation(
        "parked messages hidden by another operator's hand",
        [
            Change(f"{BROKER_REDIS}/parked.py", "        while left and found:\n", "        for _ in range(1):\n"),
        ],
        [
            f"{UNIT}/brokers/redis/test_requeue.py::test_what_another_operator_takes_out_meanwhile_hides_nothing",
        ],
    ),
    Mutation(
        "a bridge that stands by shown as one that forwards",
        [
            Change(
                f"{FORWARD}/relay.py",
                "consuming and (in_turns is None or in_turns.forwards)",
                "consuming",
            ),
        ],
        [
            f"{UNIT}/forward/test_relay.py::test_who_forwards_is_in_the_status",
            f"{REDIS_BROKER}/test_standing_by.py::test_which_one_forwards_is_seen_from_outside",
        ],
    ),
    Mutation(
        "no events through kombu for a minute, and nothing said",
        [
            Change(f"{KOMBU}/source.py", "            self._no_events.look(self._tag, now)\n", ""),
        ],
        [
            f"{UNIT}/brokers/kombu/test_kombu_source.py::test_a_minute_without_events_is_told_of",
        ],
    ),
    Mutation(
        "what a bridge does not take told of as a silence",
        [
            Change(f"{KOMBU}/source.py", "            if not self._room:  #", "            if False:  #"),
        ],
        [
            f"{UNIT}/brokers/kombu/test_kombu_source.py::test_what_this_one_does_not_take_is_no_silence",
        ],
    ),
    Mutation(
        "an unknown transport option passed over",
        [
            Change(
                "bridge/celery_event_bridge/brokers/celery_options.py",
                "if known is not None and name not in known",
                "if False",
            ),
        ],
        [
            f"{UNIT}/brokers/test_celery_options.py::test_an_unknown_transport_option_is_told_of",
        ],
    ),
    Mutation(
        "an unknown option of a broker's URL passed over",
        [
            Change(
                "bridge/celery_event_bridge/brokers/celery_options.py",
                "        if name not in taken:\n",
                "        if False:\n",
            ),
        ],
        [
            f"{UNIT}/brokers/test_celery_options.py::test_an_unknown_option_of_the_url_is_refused",
        ],
    ),
    Mutation(
        "a missing client of the broker said without its setting",
        [
            Change(
                "bridge/celery_event_bridge/config/loading.py",
                'wrong.append(f"{names.get(BROKER, BROKER)}: {exc}")',
                "wrong.append(str(exc))",
            ),
        ],
        [
            f"{UNIT}/config/test_third_parties.py::test_a_broker_whose_client_is_missing",
        ],
    ),
    Mutation(
        "a signal sent to the process and to its group taken for two",
        [
            Change(
                "bridge/celery_event_bridge/process/signals.py", "or time.monotonic() - self._at > REPEAT", "or True"
            ),
        ],
        [
            f"{UNIT}/process/test_signals.py::test_a_signal_that_is_sent_to_the_process_and_to_its_group_is_one",
        ],
    ),
    Mutation(
        "a spool judged by rights alone",
        [
            Change(f"{BROKER_REDIS}/spool_place.py", "    if problem := _tried(spool):", '    if problem := "":'),
        ],
        [
            f"{UNIT}/brokers/redis/test_spool_place.py::test_a_name_that_cannot_be",
            f"{UNIT}/brokers/redis/test_spool_place.py::test_a_directory_that_takes_no_file",
        ],
    ),
    Mutation(
        "a lock on the SQLite file waited for in one piece",
        [
            Change(f"{SQLITE}/turn.py", "SLICE = 0.2\n", "SLICE = BUSY_TIMEOUT\n"),
        ],
        [
            f"{INTEGRATION}/sqlite/test_sqlite_sink.py::test_another_writers_lock_is_waited_for_in_slices",
            f"{REDIS_BROKER}/test_standing_by.py::test_a_lock_on_the_sinks_file_costs_no_lease",
        ],
    ),
    Mutation(
        "the lease let go of while nobody can take it",
        [
            Change(
                f"{BROKER_REDIS}/lease.py",
                "            self._valid_until = max(self._valid_until, asked_at + LEASE)\n",
                "            pass\n",
            ),
        ],
        [
            f"{UNIT}/brokers/redis/test_holding_on.py::test_who_forwards_goes_on_and_says_so",
            f"{REDIS_BROKER}/test_no_writes.py::test_who_forwards_goes_on_though_its_lease_cannot_be_renewed",
        ],
    ),
    Mutation(
        "a lease held on to before the others are told",
        [
            Change(
                f"{BROKER_REDIS}/lease.py",
                "told_at is not None and told_at <= asked_at and self.holds(now)",
                "self.holds(now)",
            ),
        ],
        [
            f"{UNIT}/brokers/redis/test_holding_on.py::test_a_refusal_of_what_was_asked_before_they_were_told_is_none",
        ],
    ),
    Mutation(
        "who has held on to the lease not waited for",
        [
            Change(
                f"{BROKER_REDIS}/lease.py", "        if self._another_holds_on:\n            return now + LEASE\n", ""
            ),
        ],
        [
            f"{UNIT}/brokers/redis/test_holding_on.py::test_who_takes_it_after_that_word_waits",
        ],
    ),
    Mutation(
        "what arrives on a lane that has left taken: RabbitMQ",
        [
            Change(
                f"{RABBITMQ}/source.py",
                "        if self._lanes.some_left:  # of one that is closed by now, too\n",
                "        if any(lane.leaves for lane in self._lanes):\n",
            )
        ],
        [f"{INTEGRATION}/rabbitmq/test_shards.py::test_each_workers_events_stay_in_order_whoever_dies"],
    ),
    Mutation(
        "a master that is none any more written to: Redis",
        [Change(f"{REDIS}/client.py", 'role[0] != b"master":', "False:")],
        [f"{INTEGRATION}/redis/test_redis_sentinels.py::test_a_server_that_is_no_master_is_not_written_to"],
    ),
    Mutation(
        "the wait for another one forgotten by who takes the lease anew",
        [
            Change(
                f"{BROKER_REDIS}/lease.py",
                "max(self._from, self._may_forward_from(before, now))",
                "self._may_forward_from(before, now)",
            ),
        ],
        [
            f"{UNIT}/brokers/redis/test_lease.py::test_who_takes_it_anew_while_it_waits_waits_on",
            f"{SIMULATION}/test_pubsub.py::test_a_lease_that_is_deleted_twice_lets_nobody_forward_beside_another",
        ],
    ),
    Mutation(
        "a lease given up as free while one may forward still",
        [Change(f"{BROKER_REDIS}/lease.py", 'return "release" if now >= self._from else "leave"', 'return "release"')],
        [
            f"{UNIT}/brokers/redis/test_lease.py::test_who_gives_it_up_while_it_waits_leaves_that_to_the_next",
            f"{UNIT}/brokers/redis/test_source.py::test_who_gives_it_up_before_it_forwards_leaves_a_wait",
            f"{SIMULATION}/test_pubsub.py::test_a_lease_that_is_given_up_too_early_lets_nobody_forward_beside_another",
        ],
    ),
    Mutation(
        "who leaves the lease not in the record",
        [Change(f"{BROKER_REDIS}/lease.py", "ARGV[3] == 'release' and '' or text", "leaves and '' or text")],
        [f"{REDIS_BROKER}/test_lease_script.py::test_who_leaves_it_says_when"],
    ),
    Mutation(
        "what who forwards has set aside taken for confirmed",
        [
            Change(
                f"{BROKER_REDIS}/agreement.py",
                "if not self.lease.is_ours and not message.aside:",
                "if not self.lease.is_ours:",
            ),
        ],
        [f"{UNIT}/brokers/redis/test_again.py::test_what_who_forwards_has_set_aside_its_word_does_not_confirm"],
    ),
    Mutation(
        "what was heard at another server taken for heard at this one",
        [Change(f"{BROKER_REDIS}/gaps.py", "for begin, end in message.apart:", "for begin, end in ():")],
        [
            f"{UNIT}/brokers/redis/test_gaps.py::test_who_comes_from_another_server_later_has_not_heard_this_one",
            f"{SIMULATION}/test_pubsub.py::test_who_comes_late_from_another_server_cuts_no_gap_short",
        ],
    ),
    Mutation(
        "what was heard at this server before another one came taken for unheard",
        [Change(f"{BROKER_REDIS}/gaps.py", "min(now - end, self._came)", "now - end")],
        [f"{UNIT}/brokers/redis/test_gaps.py::test_what_was_heard_at_this_server_before_another_one_came_is_no_gap"],
    ),
    Mutation(
        "a gap behind a partition told of before who comes last has said what it has heard",
        [Change(f"{BROKER_REDIS}/gaps.py", "one.due = None if one.apart else one.due", "pass")],
        [f"{UNIT}/brokers/redis/test_gaps.py::test_a_gap_behind_a_partition_waits_for_who_comes_last"],
    ),
    Mutation(
        "who has been at another server behind a partition not saying so",
        [
            Change(
                f"{BROKER_REDIS}/source.py",
                "self._gaps.add(begin, end, apart=self._away.is_apart)",
                "self._gaps.add(begin, end)",
            )
        ],
        [f"{UNIT}/brokers/redis/test_gaps.py::test_who_comes_behind_a_partition_says_so"],
    ),
    Mutation(
        "the time of a lease that was given up taken for when two servers parted",
        [Change(f"{BROKER_REDIS}/away.py", " and bool(seen.record.renewed_at)", "")],
        [f"{SIMULATION}/test_pubsub.py::test_a_lease_that_was_given_up_does_not_say_when_servers_parted"],
    ),
    Mutation(
        "what comes later sent ahead of what came back: Redis Cluster",
        [
            Change(f"{REDIS}/flight.py", "        if self._held or self.trouble:\n", "        if self.trouble:\n"),
        ],
        [
            f"{UNIT}/sinks/redis/test_redis_flights.py::test_what_came_back_goes_before_what_comes_later",
        ],
    ),
    Mutation(
        "what came back sent again before all is decided: Redis Cluster",
        [
            Change(
                f"{REDIS}/flight.py",
                "if not self._held or self._handed or now < self._due:",
                "if not self._held or now < self._due:",
            ),
        ],
        [
            f"{UNIT}/sinks/redis/test_redis_flights.py::test_nothing_goes_out_again_before_all_is_decided",
        ],
    ),
    Mutation(
        "a stream that is away asked without a pause: Redis Cluster",
        [
            Change(
                f"{REDIS}/flight.py",
                "if not self._held or self._handed or now < self._due:",
                "if not self._held or self._handed:",
            ),
        ],
        [
            f"{UNIT}/sinks/redis/test_redis_flights.py::test_a_stream_that_is_away_is_asked_with_growing_pauses",
        ],
    ),
    Mutation(
        "what comes back held anew each time: Redis Cluster",
        [
            Change(f"{REDIS}/flight.py", "self._since = self._since or self._clock()", "self._since = self._clock()"),
        ],
        [
            f"{UNIT}/sinks/redis/test_redis_flights.py::test_what_comes_back_again_and_again_is_held_since_the_first_time",
        ],
    ),
    Mutation(
        "what came back in a look overtaken: Redis Cluster",
        [
            Change(f"{REDIS}/cluster_sink.py", "            self._early += flight.collect()\n", ""),
        ],
        [
            f"{INTEGRATION}/redis/test_redis_cluster.py::test_what_comes_back_in_a_look_is_not_overtaken",
        ],
    ),
    Mutation(
        "a slot's node believed after the connection to it has ended",
        [
            Change(f"{REDIS}/cluster.py", "if self._slots.version == self._seen:", "if self._seen == 0:"),
        ],
        [
            f"{UNIT}/sinks/redis/test_redis_slots.py::test_where_a_connection_led_is_not_believed_again",
        ],
    ),
    Mutation(
        "a node that says that its cluster is down believed",
        [
            Change(
                f"{REDIS}/cluster.py", 'if isinstance(info, bytes) and b"cluster_state:ok" not in info:', "if False:"
            ),
        ],
        [
            f"{UNIT}/sinks/redis/test_redis_slots.py::test_the_first_that_knows_is_believed",
        ],
    ),
    Mutation(
        "the same node of a cluster asked each time",
        [
            Change(
                f"{REDIS}/cluster.py",
                "        self._turn = [*known, *new, address]\n",
                "        self._turn = [address, *known, *new]\n",
            ),
        ],
        [
            f"{UNIT}/sinks/redis/test_redis_slots.py::test_another_is_asked_the_next_time",
        ],
    ),
    Mutation(
        "a key that is on its way not followed: Redis Cluster",
        [
            Change(
                f"{REDIS}/slot_client.py",
                "                self._owner.ask(error.host, error.port)\n",
                "                pass\n",
            ),
        ],
        [
            f"{INTEGRATION}/redis/test_redis_cluster.py::test_a_stream_is_stored_while_its_slot_is_on_its_way",
        ],
    ),
    Mutation(
        "a transaction without ASKING",
        [
            Change(f"{REDIS}/flight.py", 'if not cast("SlotClient", self._client).asking:', "if True:"),
        ],
        [
            f"{INTEGRATION}/redis/test_redis_cluster.py::test_a_stream_is_stored_while_its_slot_is_on_its_way",
        ],
    ),
    Mutation(
        "a node that stands still waited for a stream at a time",
        [
            Change(f"{REDIS}/slot_client.py", "        if self._owner.is_shunned:\n", "        if False:\n"),
        ],
        [
            f"{INTEGRATION}/redis/test_redis_cluster.py::test_a_master_that_stands_still_holds_up_the_others_for_one_call",
        ],
    ),
    Mutation(
        "a stream that stores nothing not named: Redis Cluster",
        [
            Change(
                f"{REDIS}/cluster_sink.py", "before, self.troubles = self.troubles, found", "before = self.troubles"
            ),
        ],
        [
            f"{INTEGRATION}/redis/test_redis_cluster_said.py::test_a_stream_without_a_node_waits_while_the_others_store",
        ],
    ),
    Mutation(
        "nodes of a cluster asked in a name that nobody waits to be resolved",
        [
            Change(f"{REDIS}/cluster.py", "        if is_name(self.address[0]):\n", "        if False:\n"),
        ],
        [
            f"{UNIT}/sinks/redis/test_redis_slots.py::test_a_name_is_resolved_within_the_time_for_the_connection",
        ],
    ),
)
