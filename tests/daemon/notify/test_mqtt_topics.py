"""Topics of zones in MQTT, and what Home Assistant is told of them."""

import json

from tests.support.notifying import event
from tracker.daemon.notify.mqtt_topics import MqttTopics
from tracker.daemon.notify.retained import RetainedTopics
from tracker.protocol.data import EventName, ZoneEvent


def test_home_assistant_is_told_of_a_zone_and_forgets_it_with_it() -> None:
    """The keys of homeassistant's components binary_sensor.mqtt and sensor.mqtt."""
    topics, retained = MqttTopics("house/trackd", "homeassistant"), RetainedTopics()
    for name in (EventName.ZONE_SET, EventName.ZONE_COUNT):
        topics.retain(event(3, name), retained)
    sent = dict(iter(retained.take_unsent, None))
    occupancy = "homeassistant/binary_sensor/house_trackd_door/gate_occupancy/config"
    number = "homeassistant/sensor/house_trackd_door/gate_count/config"
    count = "house/trackd/door/zones/gate/count"
    assert sent.keys() == {occupancy, number, count}
    assert sent[count] == b"3"
    for topic, name in ((occupancy, "occupancy"), (number, "count")):
        sensor = json.loads(sent[topic])
        assert sensor["state_topic"] == count
        assert sensor["availability_topic"] == "house/trackd/status"
        assert sensor["unique_id"] == f"house/trackd.door.gate.{name}"
    assert json.loads(sent[occupancy])["device_class"] == "occupancy"
    topics.retain(event(0, EventName.ZONE_REMOVED), retained)
    assert dict(iter(retained.take_unsent, None)) == dict.fromkeys(sent, b"")
    retained.send_all_again()
    assert retained.take_unsent() is None


def test_a_stream_that_is_removed_takes_its_topics_with_it_and_no_others() -> None:
    topics, retained = MqttTopics("trackd", "ha"), RetainedTopics()
    for stream in ("door", "door2"):
        for name in (EventName.ZONE_SET, EventName.ZONE_COUNT):
            topics.retain(event(1, name, stream=stream), retained)
    dict(iter(retained.take_unsent, None))
    topics.retain(event(0, EventName.STREAM_REMOVED, zone=None), retained)
    forgotten = dict(iter(retained.take_unsent, None))
    assert len(forgotten) == 3 and not any("door2" in topic for topic in forgotten)


def test_a_line_has_no_count() -> None:
    topics, retained = MqttTopics("trackd", "ha"), RetainedTopics()
    line = ZoneEvent(name="door", crossed_in=1, crossed_out=0)
    topics.retain(event(1, EventName.ZONE_SET, zone=line), retained)
    assert retained.take_unsent() is None


def test_a_polygon_that_becomes_a_line_loses_its_count_and_its_sensors() -> None:
    topics, retained = MqttTopics("trackd", "ha"), RetainedTopics()
    for name in (EventName.ZONE_SET, EventName.ZONE_COUNT):
        topics.retain(event(3, name), retained)
    sent = dict(iter(retained.take_unsent, None))
    line = ZoneEvent(name="gate", crossed_in=0, crossed_out=0)
    topics.retain(event(1, EventName.ZONE_SET, zone=line), retained)
    assert len(sent) == 3
    assert dict(iter(retained.take_unsent, None)) == dict.fromkeys(sent, b"")


def test_topics_that_come_and_go_while_the_broker_is_away_are_not_kept() -> None:
    retained = RetainedTopics()
    retained.set("sent", b"1")
    assert retained.take_unsent() == ("sent", b"1")
    for number in range(100):
        retained.set(f"zone-{number}", b"1")
        retained.clear(f"zone-{number}")
    retained.clear("sent")
    assert list(iter(retained.take_unsent, None)) == [("sent", b"")]
    retained.set("sent", b"2")
    retained.clear("sent")
    assert retained.take_unsent() is None
