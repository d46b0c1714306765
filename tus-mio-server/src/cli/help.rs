//! What `--help` says after the flags: what the JSON documents have, what a command does to a store, exit statuses.

pub(super) const AFTER_HELP: &str = "\
Every flag can also be given in the environment: TUS_ and its name in capitals, as TUS_DATA_DIR=/srv/tus, \
TUS_LISTEN=127.0.0.1:8080,[::1]:8080 or TUS_NO_DEMO=true, and in the file that --config names: listen = \
[\"127.0.0.1:8080\", \"[::1]:8080\"] or no-demo = true. A flag on the command line wins over the environment, and that \
over the file.

Sizes are bytes or have a unit: 1048576, 64KiB, 10GB, 1.5GiB. Durations have units: 30s, 24h, 500ms, 1h30m; 0 \
needs none.

Exit status: 0 after a drained shutdown, 1 if the environment does not allow it (a port or the data directory is \
in use, a disk fails), 2 for bad usage.";

pub(super) const LIST_HELP: &str = "\
With --json: {\"uploads\": [{\"id\", \"kind\", \"offset\", \"length\", \"complete\", \"created\", \"expires\", \"filename\"}], \
\"next\"}. kind is plain, partial, final, or pending for a final whose parts are not finished; \
offset and length are bytes, length is null while it is deferred; created and expires are RFC 3339 in UTC, expires null \
where it does not; filename is null where the metadata has none; next is what --after takes where there are more than \
--limit, else null.";

pub(super) const SHOW_HELP: &str = "\
With --json: {\"id\", \"kind\", \"offset\", \"length\", \"complete\", \"created\", \"expires\", \"filename\", \"metadata\": [{\"key\", \"value\", \
\"base64\"}], \"data\": [{\"path\", \"length\"}], \"sha256\"}, the first eight as list has them. value is null where it is not \
UTF-8; data names the files that hold the upload, in order, each with how many bytes from its first are committed. Where path \
is null, the bytes lie in the records, as those of small uploads do. sha256 is that of all bytes as they were when the \
upload became complete, in hexadecimal digits, null where none is kept.";

pub(super) const CAT_HELP: &str = "\
What is committed, from the first byte on, wherever it lies. An unfinished concatenation has no bytes yet.";

pub(super) const DELETE_HELP: &str =
    "With --json: {\"deleted\", \"bytes\"}: the id, and how many bytes it had.";

pub(super) const EXPORT_HELP: &str = "\
A file that is there already is left as it is, so that an export that was interrupted can be repeated. With --json and a \
directory: {\"exported\", \"bytes\", \"left\"}: how many uploads were written, their bytes, and how many were there.";

pub(super) const STATS_HELP: &str = "\
bytes are those that are there, where a final shares some with its parts for each of them; missing are those that \
unfinished uploads have announced and not sent; events wait for hooks; free is the disk's space. It reads every record.

With --json: {\"uploads\", \"finished\", \"unfinished\", \"expired\", \"bytes\", \"missing\", \"events\", \"free\"}.";

pub(super) const VERIFY_HELP: &str = "\
Beside a running server the check goes on while uploads do, and leaves out how many uploads share a file; --repair needs \
the store alone.

Exit status 1 if there are findings, with --repair only if some are left. --repair destroys no byte: tables are written \
anew from the records; an upload whose bytes are not all there is cut back to those that are, and is not complete any \
more, so that its client can send the rest; files of nobody are moved to the directory aside in the data directory. A \
record that can't be read, and a complete concatenation that lost bytes, are left: restore them from a backup, or \
delete the latter.

--deep then reads each complete upload that has a stored digest, parts and concatenations too, through the server if one \
runs, and says which ones have other bytes than they had when they became complete (wrong-digest), or can't be read \
(unreadable). What has changed is on the disk: restore it from a backup.

With --json: {\"ok\", \"format\", \"uploads\", \"bytes\", with --deep \"deep\": {\"uploads\", \"bytes\", \"without\"}, \"findings\": [{\"kind\", \"id\", \"path\", \"text\", \"remedy\"}]}. kind is \
damaged-record, missing-file, short-file, wrong-count, condemned, wrong-expiry, wrong-tombstone, wrong-waiting, \
not-scattered, damaged-event, foreign-journal, stray, wrong-digest, unreadable or other; id and path are null where a finding is about none; \
remedy is what was done about it, null where nothing was.";

pub(super) const CHECK_HELP: &str = "\
It takes the flags of serve, reads the same file and the same environment, and opens neither sockets nor the data \
directory. Exit status 0 if serve would start with these settings, 1 if the file can't be read, 2 if something is wrong; \
the error names the flag, the variable or the line.";

pub(super) const COMPLETIONS_HELP: &str = "\
For bash: tus-mio-server completions bash > /etc/bash_completion.d/tus-mio-server";

pub(super) const MAN_HELP: &str = "\
To install it: tus-mio-server man > /usr/local/share/man/man1/tus-mio-server.1";
