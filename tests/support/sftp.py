"""A real SFTP server that shows one folder as its root."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any, ClassVar

import asyncssh

__all__ = ["PASSWORD", "Door", "SftpServer"]

PASSWORD = "kept-from-every-message"


class Door(asyncssh.SSHServer):
    """Lets the user `me` in."""

    connections: ClassVar[list[Any]] = []

    def connection_made(self, conn: Any) -> None:
        self.connections.append(conn)

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == ("me", PASSWORD)


class SftpServer:
    """A real SFTP server on a free port that shows one folder as its root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.acceptor = self.do(self.listen())
        self.port = self.acceptor.get_port()
        self.known_hosts = root.with_name("known_hosts")
        public = self.key.export_public_key("openssh").decode().strip()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {public}\n")

    async def listen(self) -> Any:
        return await asyncssh.create_server(
            Door,
            "127.0.0.1",
            0,
            server_host_keys=[self.key],
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(self.root)),
        )

    def do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def document(self, path: str, **options: Any) -> dict[str, Any]:
        given = {"password": PASSWORD, "known_hosts": str(self.known_hosts), **options}
        url = f"sftp://me@127.0.0.1:{self.port}/{path}"
        return {"type": "files", "spec": {"store": {"url": url, "storageOptions": given}}}

    def close(self) -> None:
        async def close() -> None:
            self.acceptor.close()
            for connection in Door.connections:
                connection.close()
                await connection.wait_closed()
            await self.acceptor.wait_closed()

        self.do(close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
