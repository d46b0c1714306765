package clients;

import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * Stands between client and server, passes every byte on, and keeps what passed on each connection: the client's own
 * words are the proof that a test makes it say what the test is about. It can cut the line as well.
 */
final class Relay implements Closeable {
    private final ServerSocket listener = new ServerSocket(0, 16, InetAddress.getLoopbackAddress());
    private final InetSocketAddress server;
    private final List<Line> lines = new ArrayList<>();
    private long budget = Long.MAX_VALUE;

    Relay(URL endpoint) throws IOException {
        server = new InetSocketAddress(endpoint.getHost(), endpoint.getPort());
        thread(this::accept);
    }

    /** The server's URL, by way of this relay. */
    URL through(URL url) throws IOException {
        return new URL(url.getProtocol(), listener.getInetAddress().getHostAddress(), listener.getLocalPort(),
                url.getFile());
    }

    /** Passes so many bytes of the client's on, over all connections, and cuts the one that would carry more. */
    synchronized void cutAfter(long bytes) {
        budget = bytes;
    }

    /** What each connection carried from client to server, in the order in which they were opened. */
    synchronized List<String> requests() {
        return lines.stream().map(line -> line.sent.toString(StandardCharsets.ISO_8859_1)).toList();
    }

    /** What each connection carried back. */
    synchronized List<String> responses() {
        return lines.stream().map(line -> line.answered.toString(StandardCharsets.ISO_8859_1)).toList();
    }

    @Override
    public void close() throws IOException {
        listener.close();
        synchronized (this) {
            for (Line line : lines) {
                line.cut();
            }
        }
    }

    private void accept() throws IOException {
        while (true) {
            Socket client = listener.accept();
            Socket upstream = new Socket();
            upstream.connect(server);
            Line line = new Line(client, upstream);
            synchronized (this) {
                lines.add(line);
            }
            thread(() -> pump(line, client.getInputStream(), upstream, line.sent, true));
            thread(() -> pump(line, upstream.getInputStream(), client, line.answered, false));
        }
    }

    private void pump(Line line, InputStream from, Socket to, ByteArrayOutputStream record, boolean counted)
            throws IOException {
        OutputStream out = to.getOutputStream();
        byte[] buffer = new byte[8192];
        for (int read = from.read(buffer); read >= 0; read = from.read(buffer)) {
            int passed = counted ? spend(read) : read;
            synchronized (this) {
                record.write(buffer, 0, passed);
            }
            out.write(buffer, 0, passed);
            if (passed < read) {
                line.cut();
                return;
            }
        }
        to.shutdownOutput();
    }

    /** How many of these bytes may pass. The cut is the last one. */
    private synchronized int spend(int bytes) {
        int passed = (int) Math.min(bytes, budget);
        budget = passed < bytes ? Long.MAX_VALUE : budget - bytes;
        return passed;
    }

    /** A connection and its copy to the server. */
    private record Line(Socket client, Socket upstream, ByteArrayOutputStream sent, ByteArrayOutputStream answered) {
        Line(Socket client, Socket upstream) {
            this(client, upstream, new ByteArrayOutputStream(), new ByteArrayOutputStream());
        }

        void cut() throws IOException {
            client.close();
            upstream.close();
        }
    }

    private interface Job {
        void run() throws IOException;
    }

    /** A closed socket is how every one of these ends. */
    private static void thread(Job job) {
        Thread thread = new Thread(() -> {
            try {
                job.run();
            } catch (IOException ended) {
                return;
            }
        });
        thread.setDaemon(true);
        thread.start();
    }
}
