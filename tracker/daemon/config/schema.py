"""The configuration of the daemon, as its YAML file has it."""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from tracker.protocol.data import EventName
from tracker.protocol.fields import Message, StreamName, StreamSettings
from tracker.protocol.roles import Role

KeyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
StreamPattern = Annotated[str, Field(pattern=r"^[A-Za-z0-9_*?-]{1,64}$")]
UserName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9._-]{0,255}$")]
EventPattern = Annotated[str, Field(pattern=r"^[a-z.*?]{1,64}$")]
UserId = Annotated[int, Field(ge=0, lt=2**32)]
SourceHost = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:/-]{1,253}$")]
_Seconds = Annotated[float, Field(gt=0, le=86400)]


class ModelConfig(Message):
    """The network that tracks, and its device.

    Attributes:
        name: A name of `trackd checkpoints list`.
        checkpoint: Weights to load instead of the usual ones.
        device: auto, cpu, cuda, cuda:N or mps.
        dtype: auto, fp32, bf16 or int8.
        without: Optimizations to switch off; `trackd doctor` lists their names.
        policy: default, no-gallery or official; see `trackd track --help`.
        history_frames: Frames back to which a prompt may name its frame.
    """

    name: str = "pico"
    checkpoint: Path | None = None
    device: str = "auto"
    dtype: Literal["auto", "fp32", "bf16", "int8"] = "auto"
    without: tuple[str, ...] = ()
    policy: Literal["default", "no-gallery", "official"] = "default"
    history_frames: Annotated[int, Field(ge=0, le=600)] = 60


class ControlConfig(Message):
    """The control socket.

    Attributes:
        bind: Where it listens. Off loopback only with keys.
        max_message_bytes: A longer request is refused. The longest mask fits, a million characters
            of run lengths; no other request needs 64 KiB.
        requests_per_s: Of one client, on average; each 64 KiB of a request count as one more.
        burst: Requests of one client that may come at once.
        remembered_replies: Replies kept for retried requests, of all clients together.
        timeout_s: A command that was not applied by then is answered with an error.
    """

    bind: str = "tcp://127.0.0.1:5570"
    max_message_bytes: Annotated[int, Field(ge=1024, le=64 * 2**20)] = 2**20
    requests_per_s: Annotated[float, Field(gt=0, le=1e6)] = 200.0
    burst: Annotated[int, Field(ge=1, le=10**6)] = 400
    remembered_replies: Annotated[int, Field(ge=0, le=10**5)] = 1024
    timeout_s: _Seconds = 30.0


class DataConfig(Message):
    """The data sockets.

    Attributes:
        bind: Topics `masks.*`, `events.*`, `frames.*`, in several parts. Off loopback only with
            keys.
        latest_bind: `masks.*` in one part, `TOPIC JSON`, for subscribers that keep only the
            newest message (CONFLATE); null for none.
        send_hwm: Messages kept for a slow subscriber; older ones stay, newer ones are dropped.
        outbox_frames: Tracked frames that wait to be encoded; the oldest is dropped.
    """

    bind: str = "tcp://127.0.0.1:5571"
    latest_bind: str | None = "tcp://127.0.0.1:5572"
    send_hwm: Annotated[int, Field(ge=1, le=10**4)] = 64
    outbox_frames: Annotated[int, Field(ge=1, le=1024)] = 8


class HttpConfig(Message):
    """Metrics and health over HTTP, on loopback only; port 0 turns it off."""

    host: Literal["127.0.0.1", "::1", "localhost"] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9570


class SecurityConfig(Message):
    """Clients that are let in, and what they may do.

    Attributes:
        server_key: The daemon's secret key file, made by `trackd keys new`; null for none: then
            only programs on this machine are let in.
        client_keys: Folder of public keys of the clients that are let in, in its folders
            `watch/`, `prompt/` and `admin/` by role; read again when it changes.
        default_role: Of the keys in `client_keys` itself.
        streams: Patterns of the names of the streams that a client may see, by the name of its
            key, such as `lobby: [door, "yard-*"]`; who is not listed sees all.
        allow_users: Without keys: users of this machine besides the daemon's own and root whose
            programs are let in, by name or number.
        file_roots: Folders whose files clients may name as sources; null for all where none but
            the daemon's own user and root are let in, and else for none.
        source_hosts: Hosts that clients may name as sources: `public`, `private`, `loopback` (this
            machine), `link-local`, `multicast`, networks such as `10.0.0.0/8`, and names, whose
            public and private addresses are meant; `listen` for sources that open a port here. Null
            for all where none but the daemon's own user and root are let in, and else for public
            and private. Sources of the configuration are not bound by this.
        record_roots: Folders that clients may have streams recorded to; null as for `file_roots`.
    """

    server_key: Path | None = None
    client_keys: Path | None = None
    default_role: Role = Role.WATCH
    streams: dict[KeyName, tuple[StreamPattern, ...]] = Field(default_factory=dict)
    allow_users: tuple[UserName | UserId, ...] = ()
    file_roots: tuple[Path, ...] | None = None
    source_hosts: tuple[SourceHost, ...] | None = None
    record_roots: tuple[Path, ...] | None = None


class LimitsConfig(Message):
    """Limits on what clients may use up.

    Attributes:
        streams: Streams at a time.
        objects_per_stream: Objects tracked on a stream at a time.
        frame_pixels: Of one frame. A source of larger ones is refused before they are decoded.
        pixels: Of one frame of each stream, all streams together; twenty bytes each are held, or
            fifty while publishing is behind.
        commands_queued: Commands that may wait for one stream; half of these of one client.
        clients: Clients that requests are counted for; the one silent longest is forgotten.
        connections: Connections at a time to each ZeroMQ socket. One more closes the oldest that
            never sent anything, or else the newest. Fewer where the system allows few open files.
        unread_bytes: What all connections over TCP together may have sent that was not read yet,
            whole messages or not; never less than two of the largest. Of more, the connections
            that sent most are closed. Known on Linux only.
        unsent_bytes: What may be kept for all subscribers together that do not read what they are
            sent. Of more, those that are behind for longest are closed. Known on Linux only.
    """

    streams: Annotated[int, Field(ge=1, le=256)] = 8
    objects_per_stream: Annotated[int, Field(ge=1, le=1024)] = 32
    frame_pixels: Annotated[int, Field(ge=256, le=2**27)] = 2**25
    pixels: Annotated[int, Field(ge=256, le=2**33)] = 2**26
    commands_queued: Annotated[int, Field(ge=1, le=10**4)] = 64
    clients: Annotated[int, Field(ge=1, le=10**5)] = 256
    connections: Annotated[int, Field(ge=4, le=10**4)] = 512
    unread_bytes: Annotated[int, Field(ge=2**20, le=2**34)] = 32 * 2**20
    unsent_bytes: Annotated[int, Field(ge=2**20, le=2**36)] = 256 * 2**20


class StateConfig(Message):
    """State that is kept over restarts.

    Attributes:
        dir: Folder for streams and snapshots; null for none.
        every_s: Seconds between snapshots.
        max_age_s: Objects of an older snapshot come back as lost.
    """

    dir: Path | None = None
    every_s: _Seconds = 10.0
    max_age_s: _Seconds = 300.0


class RetryConfig(Message):
    """Waits before a failing source is opened again.

    Attributes:
        first_s: Wait after the first failure; it doubles with each, give or take a quarter.
        longest_s: Longest wait.
        permanent_s: Wait after an error that time alone does not fix.
        healthy_s: After so long without failure the wait starts at `first_s` again.
    """

    first_s: _Seconds = 1.0
    longest_s: _Seconds = 30.0
    permanent_s: _Seconds = 300.0
    healthy_s: _Seconds = 60.0


class WorkersConfig(Message):
    """Processes that read and track the streams; a plain number or `auto` means `count`.

    Attributes:
        count: How many there are, each with a model and its share of the processors; 0 tracks in
            the daemon's own process. `auto` starts them as streams come, up to one a processor, or
            one for each GPU.
        memory_bytes: Resident memory that one may have; one that has more is started again, and
            its streams go on from their last snapshots. Null for no limit. Linux only.
        hang_timeout_s: One that neither answers nor computes for so long is started again; one that
            computes has six times as long.
    """

    count: Annotated[int, Field(ge=0, le=64)] | Literal["auto"] = 0
    memory_bytes: Annotated[int, Field(ge=2**28)] | None = None
    hang_timeout_s: Annotated[float, Field(ge=1, le=3600)] = 10.0

    @model_validator(mode="before")
    @classmethod
    def _count_alone(cls, value: object) -> object:
        return {"count": value} if isinstance(value, int | str) else value


class SinkConfig(Message):
    """Events that a sink is sent, and what waits for it.

    Attributes:
        events: Patterns of the names of events that it is sent, such as `zone.*`.
        queue_events: Events that wait while it cannot be reached; of more the oldest are dropped.
        queue_bytes: Likewise in bytes.
    """

    events: Annotated[tuple[EventPattern, ...], Field(min_length=1, max_length=64)] = ("*",)
    queue_events: Annotated[int, Field(ge=1, le=10**6)] = 10_000
    queue_bytes: Annotated[int, Field(ge=4096, le=2**30)] = 8 * 2**20

    @field_validator("events")
    @classmethod
    def _name_events(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in EventName):
                raise ValueError(f"no event has a name like {pattern}; see trackd schema protocol")
        return patterns


class MqttTlsConfig(Message):
    """TLS to a broker; the system's authorities where `ca_file` is left out.

    Attributes:
        ca_file: Certificates, in PEM, of the authorities that the broker's must be of.
        cert_file: Certificate of the client, for a broker that asks for one.
        key_file: Its key.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    @property
    def files(self) -> tuple[Path | None, Path | None, Path | None]:
        """Authorities, certificate, key."""
        return self.ca_file, self.cert_file, self.key_file


class MqttConfig(SinkConfig):
    """A broker of MQTT 3.1.1; needs the extra `mqtt`.

    Attributes:
        host: Its name or address.
        port: 8883 is usual with `tls`.
        topic_prefix: Of all topics.
        client_id: Names the session on the broker, so no two clients may have the same; null for
            `trackd-HOST`.
        username: For a broker that asks for one.
        password_file: A file that holds the password and nothing else.
        tls: Null for none.
        discovery_prefix: Home Assistant finds the zones there, usually `homeassistant`; null for
            no discovery.
    """

    host: SourceHost
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    topic_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$")] = "trackd"
    client_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")] | None = None
    username: Annotated[str, Field(max_length=256)] | None = None
    password_file: Path | None = None
    tls: MqttTlsConfig | None = None
    discovery_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_/-]{1,64}$")] | None = None

    @property
    def shown(self) -> str:
        """The broker for people."""
        return f"{self.host}:{self.port}"

    @model_validator(mode="after")
    def _password_has_a_name(self) -> Self:
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file goes with username")
        return self


class WebhookConfig(SinkConfig):
    """A URL that events are posted to.

    Attributes:
        url: Of scheme https, or http with `allow_private`; it may hold a token, and is not shown.
        secret_file: A file with the key of the signatures, of 16 bytes or more.
        timeout_s: Longest wait for an answer.
        allow_private: Its host may be of this machine or of a private network.
    """

    url: Annotated[str, Field(max_length=4096, pattern=r"^[!-~]+$", repr=False)]
    secret_file: Path
    timeout_s: Annotated[float, Field(gt=0, le=300)] = 10.0
    allow_private: bool = False


class NotifyConfig(Message):
    """Sinks that events are sent to, besides the data sockets.

    Attributes:
        mqtt: A broker.
        webhooks: URLs.
    """

    mqtt: MqttConfig | None = None
    webhooks: Annotated[tuple[WebhookConfig, ...], Field(max_length=16)] = ()


class LogConfig(Message):
    """Lines on stderr."""

    format: Literal["plain", "json"] = "plain"
    level: Literal["debug", "info", "warning", "error"] = "info"


class ConfiguredStream(StreamSettings):
    """A source to open at the start, as `stream.add` has it; its address may be in a file.

    Attributes:
        url: As there; left out with `url_file`.
        url_file: A file that holds the address and nothing else, read when the configuration is,
            so that its password is not in here.
    """

    url: Annotated[str, Field(max_length=4096, repr=False)] = ""
    url_file: Path | None = None

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if bool(self.url) == (self.url_file is not None):
            raise ValueError("give one of url, url_file")
        return self


class DaemonConfig(Message):
    """Everything; each part has defaults that serve one machine.

    Attributes:
        drain_timeout_s: Longest time from a signal to the end.
        streams: Sources to open at the start, by name.
    """

    model: ModelConfig = ModelConfig()
    workers: WorkersConfig = WorkersConfig()
    control: ControlConfig = ControlConfig()
    data: DataConfig = DataConfig()
    http: HttpConfig = HttpConfig()
    security: SecurityConfig = SecurityConfig()
    limits: LimitsConfig = LimitsConfig()
    state: StateConfig = StateConfig()
    retry: RetryConfig = RetryConfig()
    notify: NotifyConfig = NotifyConfig()
    log: LogConfig = LogConfig()
    drain_timeout_s: _Seconds = 10.0
    streams: dict[StreamName, ConfiguredStream] = Field(default_factory=dict)
