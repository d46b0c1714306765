package clients;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The server under test as a process of its own: one data directory, the first time on a free port, then on the same
 * one. Closing it ends the process, however far it came.
 */
final class Server implements AutoCloseable {
    private static final String LISTENING = "listening on ";

    private final Path dataDir;
    private final Path log;
    private Process process;
    private URL endpoint;

    Server(Path directory) {
        dataDir = directory.resolve("data");
        log = directory.resolve("server.log");
    }

    /** The collection's URL, as the server printed it. */
    URL endpoint() {
        return endpoint;
    }

    /** Ends when the server listens. */
    void start() throws IOException {
        String listen = endpoint == null ? "127.0.0.1:0" : endpoint.getAuthority();
        process = new ProcessBuilder(
                System.getenv("TUS_SERVE_BIN"), "--listen", listen, "--data-dir", dataDir.toString())
                .redirectError(ProcessBuilder.Redirect.appendTo(log.toFile()))
                .start();
        BufferedReader output = process.inputReader(StandardCharsets.UTF_8);
        for (String line = output.readLine(); line != null; line = output.readLine()) {
            if (line.startsWith(LISTENING)) {
                endpoint = new URL(line.substring(LISTENING.length()));
                return;
            }
        }
        throw new IOException("the server ended before it listened:\n" + Files.readString(log));
    }

    /** Ends the process as a crash would. */
    void kill() throws InterruptedException {
        process.destroyForcibly().waitFor();
    }

    /** The SHA-256 of what is on disk. The directory is the server's while it runs, so it is stopped. */
    String storedSha256(URL upload) throws IOException, InterruptedException {
        process.destroy();
        process.waitFor();
        String id = upload.getPath().substring(upload.getPath().lastIndexOf('/') + 1);
        Process hash = new ProcessBuilder("../shared/stored-sha256", dataDir.toString(), id)
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        String digest = new String(hash.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
        if (hash.waitFor() != 0) {
            throw new IOException("stored-sha256 failed");
        }
        return digest;
    }

    @Override
    public void close() throws InterruptedException {
        if (process != null) {
            kill();
        }
    }
}
