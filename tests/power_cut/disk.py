"""A disk with a volatile write cache, for qemu: an NBD server for one connection.

    disk.py IMAGE SOCKET

What the guest writes stays in memory until it flushes; only then does it reach IMAGE. SIGTERM is the power cut: each
block of 4 KiB that was not flushed is then either on the disk or not, as with a drive that orders its writes as it
likes. How many stay differs from cut to cut: none, all or some. From then on nothing is answered; it ends when qemu is
gone. After an orderly end nothing is missing. The last line that it prints says what happened.
"""

import mmap
import random
import signal
import socket
import struct
import sys
import time

BLOCK = 4096
# How long a flush takes. A cut during it finds nothing of it done.
FLUSH_SECONDS = 0.01

# From the description of the protocol, https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
OPTION_EXPORT_NAME, OPTION_ABORT, OPTION_INFO, OPTION_GO = 1, 2, 6, 7
REPLY_ACK, REPLY_INFO, REPLY_UNSUPPORTED = 1, 3, 0x80000001
READ, WRITE, DISCONNECT, FLUSH = 0, 1, 2, 3
FLAGS = 1 | 4 | 8  # are there; takes FLUSH; takes FUA
FUA = 1
EINVAL = 22


class Cut(Exception):
    """The power, or the other end, is gone."""


def cut_power(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Cut


class Disk:
    def __init__(self, path):
        self.file = open(path, "r+b", buffering=0)
        # Private: writes to it are in memory only.
        self.cached = mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_COPY)
        self.size = len(self.cached)
        self.unflushed = set()

    def read(self, at, length):
        return self.cached[at : at + length]

    def write(self, at, data):
        self.cached[at : at + len(data)] = data
        self.unflushed.update(range(at // BLOCK, (at + len(data) + BLOCK - 1) // BLOCK))

    def flush(self, blocks=None):
        for block in self.unflushed if blocks is None else blocks:
            self.file.seek(block * BLOCK)
            self.file.write(self.cached[block * BLOCK : (block + 1) * BLOCK])
        self.unflushed.clear()

    def cut(self):
        share = random.choice((0, 0.2, 0.5, 0.8, 1))
        before = len(self.unflushed)
        kept = [block for block in self.unflushed if random.random() < share]
        self.flush(kept)
        return f"{before - len(kept)} of {before} unflushed blocks lost"


class Connection:
    def __init__(self, stream, disk):
        self.stream = stream
        self.disk = disk

    def take(self, length):
        taken = bytearray()
        while len(taken) < length:
            try:
                part = self.stream.recv(length - len(taken))
            except ConnectionError:
                part = b""
            if not part:
                raise Cut
            taken += part
        return bytes(taken)

    def is_there(self):
        try:
            return self.stream.recv(65536) != b""
        except ConnectionError:
            return False

    def give(self, data):
        try:
            self.stream.sendall(data)
        except ConnectionError:
            raise Cut from None

    def greet(self):
        """Up to the first request. False if the other end wants nothing more."""
        self.give(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 1 | 2))
        no_zeroes = struct.unpack(">I", self.take(4))[0] & 2
        while True:
            _, option, length = struct.unpack(">8sII", self.take(16))
            self.take(length)
            if option == OPTION_EXPORT_NAME:
                self.give(struct.pack(">QH", self.disk.size, FLAGS) + (b"" if no_zeroes else bytes(124)))
                return True
            if option in (OPTION_INFO, OPTION_GO):
                self.reply(option, REPLY_INFO, struct.pack(">HQH", 0, self.disk.size, FLAGS))
                self.reply(option, REPLY_ACK)
                if option == OPTION_GO:
                    return True
            elif option == OPTION_ABORT:
                self.reply(option, REPLY_ACK)
                return False
            else:
                self.reply(option, REPLY_UNSUPPORTED)

    def flush(self):
        time.sleep(FLUSH_SECONDS)
        self.disk.flush()

    def reply(self, option, kind, data=b""):
        self.give(struct.pack(">QIII", 0x3E889045565A9, option, kind, len(data)) + data)

    def serve(self):
        """Until the other end says goodbye."""
        while True:
            magic, flags, kind, handle, at, length = struct.unpack(">IHHQQI", self.take(28))
            if magic != 0x25609513:
                raise SystemExit("disk.py: not a request")
            error, data = 0, b""
            if kind == DISCONNECT:
                return
            if kind == FLUSH:
                self.flush()
            elif kind in (READ, WRITE) and at + length > self.disk.size:
                error = EINVAL
                if kind == WRITE:
                    self.take(length)
            elif kind == READ:
                data = self.disk.read(at, length)
            elif kind == WRITE:
                self.disk.write(at, self.take(length))
                if flags & FUA:
                    self.flush()
            else:
                error = EINVAL
            self.give(struct.pack(">IIQ", 0x67446698, error, handle) + data)


def main():
    image, path = sys.argv[1:]
    disk = Disk(image)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)
    print("ready", flush=True)
    stream = listener.accept()[0]
    connection = Connection(stream, disk)
    try:
        signal.signal(signal.SIGTERM, cut_power)
        if connection.greet():
            connection.serve()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        disk.flush()
        print("all flushed")
    except Cut:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print(disk.cut())
        # Closed sooner, the guest would see errors of its disk.
        while connection.is_there():
            pass


main()
