"""A bucket of S3 or of a server that speaks its protocol, through s3fs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, BinaryIO, cast

from streams_engine.adapters.files.stores.backend import FileInfo, Location, UnclosedSink
from streams_engine.adapters.sql.server_message import Masked, server_text
from streams_engine.contracts import FileEntry
from streams_engine.errors import (
    AuthenticationFailed,
    ConfigError,
    ConnectionFailed,
    NotFound,
    PermissionDenied,
    StreamsError,
    TargetConflict,
)

__all__ = ["S3Files"]

PART = 16 << 20
"""Bytes of one part of a multipart upload; S3 takes 10,000 of them, of 5 MB at least."""
READ_AHEAD = 8 << 20
PAGE = 1000
"""Objects of one answer to a listing, of which S3 gives no more."""

CREDENTIALS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "InvalidClientTokenId",
    "TokenRefreshRequired",
}
UNREACHABLE = {
    "EndpointConnectionError": "the connection was refused, or the host is unknown",
    "ClientConnectorDNSError": "the host name is unknown",
    "ConnectTimeoutError": "no answer in time",
    "ReadTimeoutError": "no answer in time",
    "TimeoutError": "no answer in time",
    "SSLError": "the TLS handshake failed",
    "ClientConnectorCertificateError": "the TLS handshake failed",
    "ConnectionClosedError": "the connection was closed",
}
"""Errors of botocore and aiohttp, by name, and what they mean."""
MISSING = {"NoSuchBucket", "NoSuchKey", "404"}
TAKEN = {"BucketAlreadyExists", "BucketAlreadyOwnedByYou"}

AT_HOME = "us-east-1"
"""The region that a new bucket's request must not name
(https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html)."""

Buckets = list[dict[str, Any]]
Place = tuple[str, str]
"""A bucket and a key in it."""


class S3Files:
    """Objects below a prefix; an object is whole when its upload is completed."""

    def __init__(self, store: Location) -> None:
        bucket, _, prefix = store.root.strip("/").partition("/")
        self._bucket = bucket
        self._prefix = prefix.strip("/")
        self._store = store
        self._fs = _filesystem(store)

    def show(self, path: str) -> str:
        """Return the object's URI."""
        return "s3://" + "/".join(part for part in self._place(path) if part)

    def list(self, path: str) -> list[FileInfo]:
        """List all objects below a prefix, page by page, never from a cache."""
        place = self._place(path)
        _, key = place
        infos: list[FileInfo] = []
        for prefix in (key, f"{key}/") if path else (f"{key}/" if key else "",):
            exactly = prefix == key and key != ""
            infos = [
                FileInfo(self._path(place, item["Key"]), int(item["Size"]), str(item["ETag"]))
                for page in self._pages(place, prefix)
                for item in page.get("Contents", ())
                # What ends with a slash is a folder's place holder.
                if not item["Key"].endswith("/") and (not exactly or item["Key"] == key)
            ]
            if infos:
                break
        return infos

    def _pages(self, place: Place, prefix: str, **more: str) -> Iterator[Mapping[str, Any]]:
        further: dict[str, str] = {}
        while True:
            page = self._call(
                "list_objects_v2", place, Prefix=prefix, MaxKeys=PAGE, **more, **further
            )
            yield page
            if not page.get("IsTruncated"):
                return
            further = {"ContinuationToken": page["NextContinuationToken"]}

    def entries(self, path: str, *, deep: bool) -> Iterator[FileEntry]:
        """Yield what is below a prefix, page by page, in the order of the keys."""
        place = bucket, key = self._place(path)
        if not bucket:
            for one in self.buckets():
                if deep:
                    yield from self.entries(one["name"], deep=True)
                else:
                    yield FileEntry(one["name"], "folder")
            return
        prefix, empty = f"{key}/" if key else "", True
        for page in self._pages(place, prefix, **({} if deep else {"Delimiter": "/"})):
            folders = [(one["Prefix"], None) for one in page.get("CommonPrefixes", ())]
            files = [(one["Key"], one) for one in page.get("Contents", ())]
            for name, item in sorted((*folders, *files), key=lambda one: one[0]):
                empty = False
                if item is None:
                    yield FileEntry(self._path(place, name.rstrip("/")), "folder")
                elif not name.endswith("/"):
                    yield self._object(self._path(place, name), item["Size"], item["LastModified"])
        if empty and path:
            yield self.entry(path)

    def entry(self, path: str, *, follow: bool = True) -> FileEntry:
        """Return an object, or the folder that a prefix is. Raises `NotFound`."""
        place = bucket, key = self._place(path)
        if not bucket:
            return FileEntry("", "folder")
        if not path or not key:
            self._call("head_bucket", place)
            return FileEntry(path, "folder")
        try:
            head = self._call("head_object", place, Key=key)
        except NotFound:
            below = next(self._pages(place, f"{key}/"))
            if not below.get("Contents"):
                raise
            return FileEntry(path, "folder")
        return self._object(path, head["ContentLength"], head["LastModified"])

    def _object(self, path: str, size: int, modified: datetime) -> FileEntry:
        return FileEntry(path, "file", int(size), modified.astimezone(UTC))

    def delete_folder(self, path: str) -> None:
        """Delete the objects that hold the place of folders."""
        place = self._place(path)
        for page in self._pages(place, f"{place[1]}/"):
            for item in page.get("Contents", ()):
                self._call("delete_object", place, Key=item["Key"])

    def buckets(self) -> Buckets:
        """Return ``{"name", "created"}`` of the account's buckets, by name."""
        with self._failing(("", "")):
            answer: Mapping[str, Any] = self._fs.call_s3("list_buckets")
        return [
            {"name": one["Name"], "created": one["CreationDate"].astimezone(UTC)}
            for one in sorted(answer.get("Buckets", ()), key=lambda one: str(one["Name"]))
        ]

    def create_bucket(self, name: str) -> None:
        """Create a bucket in the region of the connection. Raises `TargetConflict`."""
        region = self._store.region
        there = {"LocationConstraint": region}
        away = {} if region in ("", AT_HOME) else {"CreateBucketConfiguration": there}
        if any(one["name"] == name for one in self.buckets()):
            raise _exists(name)
        self._call("create_bucket", (name, ""), **away)

    def stat(self, path: str) -> FileInfo:
        """Size and ETag of the object."""
        place = self._place(path)
        head = self._call("head_object", place, Key=place[1])
        return FileInfo(path, int(head["ContentLength"]), str(head["ETag"]))

    def open(self, path: str) -> BinaryIO:
        """Open a file that reads ahead; s3fs notices if the object changes meanwhile."""
        place = self._place(path)
        with self._failing(place):
            name = "/".join(place)
            return cast(BinaryIO, self._fs.open(name, "rb", block_size=READ_AHEAD))

    @contextmanager
    def writing(self, path: str) -> Iterator[BinaryIO]:
        """Write an object: one put if it is small, else an upload in parts, which is aborted on an
        error."""
        upload = _Upload(self, self._place(path))
        given = UnclosedSink(upload)
        try:
            yield cast(BinaryIO, given)
            given.drop()
            upload.complete()
        except BaseException:
            given.drop()
            upload.abort()
            raise

    def delete(self, path: str) -> None:
        """Delete an object. S3 reports no error if it does not exist."""
        place = self._place(path)
        self._call("delete_object", place, Key=place[1])

    def extras(self) -> dict[str, str]:
        """Return the arguments for every new object."""
        store = self._store
        settings = {
            "StorageClass": store.storage_class,
            "ServerSideEncryption": store.server_side_encryption,
            "SSEKMSKeyId": store.kms_key_id if store.server_side_encryption else "",
        }
        return {name: value for name, value in settings.items() if value}

    def _place(self, path: str) -> Place:
        """Return bucket and key of a path, which begins with the bucket if the root names none."""
        if not self._bucket:
            bucket, _, key = path.strip("/").partition("/")
            return bucket, key
        return self._bucket, "/".join(part for part in (self._prefix, path.strip("/")) if part)

    def _path(self, place: Place, key: str) -> str:
        """Return the path of a key, the reverse of `_place`."""
        if not self._bucket:
            return f"{place[0]}/{key}"
        return key[len(self._prefix) + 1 :] if self._prefix else key

    def _call(self, method: str, place: Place, **arguments: Any) -> Mapping[str, Any]:
        with self._failing(place):
            answer: Mapping[str, Any] = self._fs.call_s3(method, Bucket=place[0], **arguments)
            return answer

    @contextmanager
    def _failing(self, place: Place) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

        try:
            yield
        except (OSError, BotoCoreError, ClientError) as error:
            raise self._translated(error, place) from None

    def _translated(self, error: Exception, place: Place) -> StreamsError:
        """Translate an error by S3's code, quoting S3's sentence if it refuses something."""
        where = f"s3://{place[0]}/{place[1]}"
        response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
        told = (response or {}).get("Error", {})
        code = str(told.get("Code", ""))
        secrets = Masked(self._store.secret, self._store.token)
        said = ": ".join(filter(None, (code, server_text(str(told.get("Message", "")), secrets))))
        if code in CREDENTIALS or type(error).__name__.endswith("CredentialsError"):
            return AuthenticationFailed(
                f"{where}: the server refused the credentials: {said or 'none were found'}.",
                remedy="Check the access key, the secret key and the session token.",
            )
        if code == "NoSuchBucket":
            return NotFound(f"The bucket {place[0]} does not exist.", bucket=place[0])
        if code in TAKEN:
            return _exists(place[0])
        if isinstance(error, FileNotFoundError) or code in MISSING:
            return NotFound(f"{where} does not exist.", path=where)
        if isinstance(error, PermissionError):
            return PermissionDenied(
                f"{where}: permission denied: {said or 'AccessDenied'}.", path=where
            )
        return self._unreachable(error, where, said)

    def _unreachable(self, error: Exception, where: str, said: str) -> ConnectionFailed:
        """Return the error for no answer, or an unexpected one; ``said`` is the store's own
        sentence."""
        kinds = {type(one).__name__ for one in (error, error.__cause__, error.__context__) if one}
        reason = next((text for kind, text in UNREACHABLE.items() if kind in kinds), None)
        if reason is None:
            reason = f"unexpected answer: {said or type(error).__name__}"
        return ConnectionFailed(
            f"{where}: {reason}.",
            remedy=(
                f"Check the endpoint {self._store.endpoint_url or 'of the region'}, and that "
                "this machine can reach it."
            ),
        )


class _Upload:
    """Gathers bytes into parts of one upload."""

    def __init__(self, files: S3Files, place: Place) -> None:
        self._files = files
        self._place = place
        self._held = bytearray()
        self._id = ""
        self._parts: list[dict[str, Any]] = []

    def write(self, data: Any) -> None:
        self._held += data
        while len(self._held) >= 2 * PART:
            self._send(PART)

    def _call(self, method: str, **arguments: Any) -> Mapping[str, Any]:
        return self._files._call(method, self._place, Key=self._place[1], **arguments)

    def _send(self, size: int) -> None:
        if not self._id:
            self._id = self._call("create_multipart_upload", **self._files.extras())["UploadId"]
        number = len(self._parts) + 1
        body = bytes(self._held[:size])
        sent = self._call("upload_part", UploadId=self._id, PartNumber=number, Body=body)
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})
        del self._held[:size]

    def complete(self) -> None:
        if not self._id and len(self._held) <= PART:
            self._call("put_object", Body=bytes(self._held), **self._files.extras())
            return
        while self._held:
            self._send(min(len(self._held), PART))
        parts = {"Parts": self._parts}
        self._call("complete_multipart_upload", UploadId=self._id, MultipartUpload=parts)
        self._id = ""

    def abort(self) -> None:
        if self._id:
            with suppress(StreamsError):
                self._call("abort_multipart_upload", UploadId=self._id)


def _exists(bucket: str) -> TargetConflict:
    return TargetConflict(
        f"The bucket {bucket} exists already.", remedy="Choose another name.", bucket=bucket
    )


def _filesystem(store: Location) -> Any:
    try:
        import s3fs
    except ModuleNotFoundError as missing:
        raise ConfigError(
            f"S3 is read and written through s3fs, and {missing.name} is not installed.",
            remedy="pip install 'streams-engine[s3]'",
        ) from None
    client = {"endpoint_url": store.endpoint_url, "region_name": store.region}
    s3 = {"addressing_style": "path"} if store.endpoint_url else {}
    return s3fs.S3FileSystem(
        key=store.key or None,
        secret=store.secret or None,
        token=store.token or None,
        client_kwargs={name: value for name, value in client.items() if value},
        config_kwargs={"s3": s3} if s3 else {},
        use_listings_cache=False,
        skip_instance_cache=True,
    )
