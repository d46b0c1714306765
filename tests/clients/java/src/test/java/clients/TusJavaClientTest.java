package clients;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.tus.java.client.ProtocolException;
import io.tus.java.client.TusClient;
import io.tus.java.client.TusExecutor;
import io.tus.java.client.TusURLMemoryStore;
import io.tus.java.client.TusUpload;
import io.tus.java.client.TusUploader;
import java.io.File;
import java.io.IOException;
import java.net.HttpURLConnection;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * tus-java-client: it sends PATCH as POST with an override, bodies in chunked coding, waits for 100 Continue, and ends
 * an upload with an empty PATCH where the last one took all that was left.
 */
class TusJavaClientTest {
    private static final int MIB = 1 << 20;

    @TempDir
    Path directory;

    private Server server;
    private Relay relay;
    private TusClient client;

    @BeforeEach
    void start() throws IOException {
        server = new Server(directory);
        server.start();
        relay = new Relay(server.endpoint());
        client = new TusClient();
        client.setUploadCreationURL(relay.through(server.endpoint()));
        client.enableResuming(new TusURLMemoryStore());
    }

    @AfterEach
    void end() throws IOException, InterruptedException {
        if (server != null) {
            server.close();
        }
        if (relay != null) {
            relay.close();
        }
    }

    /** Sizes of the file, of a read, and of a request: the last read of a request is cut short by its payload size. */
    @ParameterizedTest
    @CsvSource({"1, 1024, 4096", "1000, 1, 4096", "100000, 1000, 4096", "3145733, 65536, 1048576", "0, 1024, 4096"})
    void everyChunkAndPayloadSizeStoresTheFile(int size, int chunk, int payload) throws Exception {
        File file = makeFile(size);
        TusUploader uploader = client.createUpload(new TusUpload(file));
        send(uploader, chunk, payload);
        assertStored(file, uploader);
    }

    @Test
    void bodiesAreChunkedAndWaitForContinue() throws Exception {
        File file = makeFile(MIB + 1);
        TusUploader uploader = client.createUpload(new TusUpload(file));
        send(uploader, 64 * 1024, 10 * MIB);

        List<String> patches = patches();
        assertEquals(1, patches.size());
        String patch = patches.get(0).substring(0, patches.get(0).indexOf("\r\n\r\n") + 2);
        assertTrue(patch.contains("\r\nExpect: 100-continue\r\n"), patch);
        assertTrue(patch.contains("\r\nTransfer-Encoding: chunked\r\n"), patch);
        assertFalse(patch.contains("\r\nContent-Length:"), patch);
        assertEquals(1, relay.responses().stream().filter(text -> text.contains("HTTP/1.1 100 ")).count());
        assertStored(file, uploader);
    }

    @Test
    void anEmptyPatchEndsAFullLastRequest() throws Exception {
        File file = makeFile(4 * 4096);
        TusUploader uploader = client.createUpload(new TusUpload(file));
        send(uploader, 1024, 4096);

        List<String> patches = patches();
        assertEquals(5, patches.size());
        assertTrue(patches.get(4).contains("\r\nUpload-Offset: 16384\r\n"), patches.get(4));
        assertTrue(patches.get(4).endsWith("\r\n\r\n0\r\n\r\n"), patches.get(4));
        assertStored(file, uploader);
    }

    @Test
    void aPausedUploadGoesOnWithANewUploader() throws Exception {
        File file = makeFile(3 * MIB);
        TusUploader first = client.createUpload(new TusUpload(file));
        first.setChunkSize(MIB);
        first.uploadChunk();
        first.finish();

        TusUploader second = client.resumeUpload(new TusUpload(file));
        assertEquals(MIB, second.getOffset());
        assertEquals(first.getUploadURL(), second.getUploadURL());
        send(second, MIB, 10 * MIB);
        assertStored(file, second);
    }

    @Test
    void aCutConnectionCostsNoMoreThanWhatWasUnderWay() throws Exception {
        File file = makeFile(8 * MIB);
        relay.cutAfter(5 * MIB);
        long[] resumedAt = new long[1];
        TusUploader[] last = new TusUploader[1];
        boolean done = new TusExecutor() {
            @Override
            protected void makeAttempt() throws ProtocolException, IOException {
                TusUploader uploader = client.resumeOrCreateUpload(new TusUpload(file));
                last[0] = uploader;
                resumedAt[0] = uploader.getOffset();
                send(uploader, 64 * 1024, 10 * MIB);
            }
        }.makeAttempts();
        assertTrue(done);
        // Heads and framing, about 8 bytes in 4 KiB, are a small part of what the relay passed on.
        assertTrue(resumedAt[0] > 5 * MIB - 16 * 1024 && resumedAt[0] < 5 * MIB, "resumed at " + resumedAt[0]);
        assertEquals(1, relay.requests().stream().filter(text -> text.contains("Upload-Length: ")).count());
        assertStored(file, last[0]);
    }

    @Test
    void aRestartedServerKnowsTheUpload() throws Exception {
        File file = makeFile(4 * MIB);
        TusUploader first = client.createUpload(new TusUpload(file));
        first.setRequestPayloadSize(2 * MIB);
        first.setChunkSize(MIB);
        first.uploadChunk();
        first.uploadChunk();
        server.kill();
        server.start();

        TusUploader second = client.resumeUpload(new TusUpload(file));
        assertEquals(2 * MIB, second.getOffset());
        send(second, MIB, 10 * MIB);
        assertStored(file, second);
    }

    @Test
    void aRefusedExpectationIsTheAnswer() throws Exception {
        File file = makeFile(MIB);
        TusUploader behind = client.createUpload(new TusUpload(file));
        TusUploader ahead = client.beginOrResumeUploadFromURL(new TusUpload(file), behind.getUploadURL());
        send(ahead, MIB, MIB);

        ProtocolException refused = assertThrows(ProtocolException.class, () -> send(behind, 1024, MIB));
        assertEquals(409, refused.getCausingConnection().getResponseCode());
        List<String> patches = patches();
        String refusedPatch = patches.get(patches.size() - 1);
        assertTrue(refusedPatch.contains("\r\nUpload-Offset: 0\r\n"), refusedPatch);
        assertTrue(refusedPatch.endsWith("\r\n\r\n") && !refusedPatch.contains("\r\n0\r\n"), "a body was sent");
    }

    @Test
    void metadataComesBackAsItWasSent() throws Exception {
        TusUpload upload = new TusUpload(makeFile(3));
        upload.setMetadata(Map.of("filename", "Übung ☃.bin", "filetype", "text/plain"));
        TusUploader uploader = client.createUpload(upload);
        send(uploader, 1024, 4096);
        HttpURLConnection head = head(uploader.getUploadURL());
        assertEquals(upload.getEncodedMetadata(), head.getHeaderField("Upload-Metadata"));
    }

    private static void send(TusUploader uploader, int chunk, int payload) throws ProtocolException, IOException {
        uploader.setChunkSize(chunk);
        uploader.setRequestPayloadSize(payload);
        int sent;
        do {
            sent = uploader.uploadChunk();
        } while (sent > -1);
        uploader.finish();
    }

    private void assertStored(File file, TusUploader uploader) throws Exception {
        HttpURLConnection head = head(uploader.getUploadURL());
        assertEquals(Long.toString(file.length()), head.getHeaderField("Upload-Offset"));
        assertEquals(sha256(file), server.storedSha256(uploader.getUploadURL()));
    }

    private HttpURLConnection head(URL url) throws IOException {
        HttpURLConnection connection = (HttpURLConnection) url.openConnection();
        connection.setRequestMethod("HEAD");
        connection.setRequestProperty("Tus-Resumable", TusClient.TUS_VERSION);
        assertEquals(200, connection.getResponseCode());
        return connection;
    }

    /** The client's PATCH requests, head and body as they went over the wire, in order. */
    private List<String> patches() {
        return relay.requests().stream()
                .flatMap(text -> Stream.of(text.split("(?=(POST|HEAD) /files)")))
                .filter(text -> text.contains("\r\nX-HTTP-Method-Override: PATCH\r\n"))
                .toList();
    }

    private File makeFile(int size) throws IOException {
        byte[] content = new byte[size];
        new Random(size).nextBytes(content);
        return Files.write(directory.resolve("file.bin"), content).toFile();
    }

    private static String sha256(File file) throws IOException, GeneralSecurityException {
        byte[] digest = MessageDigest.getInstance("SHA-256").digest(Files.readAllBytes(file.toPath()));
        return HexFormat.of().formatHex(digest);
    }
}
