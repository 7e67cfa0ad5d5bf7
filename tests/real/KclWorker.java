// A worker of the Kinesis Client Library that begins at a checkpoint which it did not write.
//
//   java -cp LIB/* -Djava.library.path=LIB KclWorker.java ENDPOINT STREAM SHARD SEQUENCE SUB_SEQUENCE RECORDS
//
// Its lease table is in memory. Prints `sequence number, sub-sequence number, data in hex` of each record
// it is given, and ends after RECORDS of them, and a while in which there might have come more.

import java.net.URI;
import java.util.HexFormat;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.http.Protocol;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.dynamodb.model.AttributeDefinition;
import software.amazon.awssdk.services.dynamodb.model.AttributeValue;
import software.amazon.awssdk.services.dynamodb.model.BillingMode;
import software.amazon.awssdk.services.dynamodb.model.KeySchemaElement;
import software.amazon.awssdk.services.dynamodb.model.KeyType;
import software.amazon.awssdk.services.dynamodb.model.ScalarAttributeType;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.dynamodb.services.local.embedded.DynamoDBEmbedded;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.lifecycle.events.*;
import software.amazon.kinesis.metrics.NullMetricsFactory;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

public class KclWorker {
    static CountDownLatch left;

    static class Printer implements ShardRecordProcessor {
        public void initialize(InitializationInput input) {}

        public void processRecords(ProcessRecordsInput input) {
            for (var record : input.records()) {
                var data = new byte[record.data().remaining()];
                record.data().get(data);
                System.out.println(record.sequenceNumber() + " " + record.subSequenceNumber() + " "
                        + HexFormat.of().formatHex(data));
                left.countDown();
            }
        }

        public void leaseLost(LeaseLostInput input) {}

        public void shardEnded(ShardEndedInput input) {}

        public void shutdownRequested(ShutdownRequestedInput input) {}
    }

    public static void main(String[] args) throws Exception {
        var stream = args[1];
        left = new CountDownLatch(Integer.parseInt(args[5]));
        var credentials = StaticCredentialsProvider.create(AwsBasicCredentials.create("test", "test"));
        var region = Region.US_EAST_1;
        var kinesis = KinesisAsyncClient.builder().region(region).credentialsProvider(credentials)
                .endpointOverride(URI.create(args[0]))
                .httpClient(NettyNioAsyncHttpClient.builder().protocol(Protocol.HTTP1_1).build()).build();
        var metrics = CloudWatchAsyncClient.builder().region(region).credentialsProvider(credentials).build();
        DynamoDbAsyncClient leases = DynamoDBEmbedded.create().dynamoDbAsyncClient();
        leases.createTable(table -> table.tableName(stream).billingMode(BillingMode.PAY_PER_REQUEST)
                .keySchema(KeySchemaElement.builder().attributeName("leaseKey").keyType(KeyType.HASH).build())
                .attributeDefinitions(AttributeDefinition.builder().attributeName("leaseKey")
                        .attributeType(ScalarAttributeType.S).build())).get();
        leases.putItem(item -> item.tableName(stream).item(Map.of(
                "leaseKey", AttributeValue.fromS(args[2]),
                "checkpoint", AttributeValue.fromS(args[3]),
                "checkpointSubSequenceNumber", AttributeValue.fromN(args[4]),
                "leaseCounter", AttributeValue.fromN("0"),
                "ownerSwitchesSinceCheckpoint", AttributeValue.fromN("0")))).get();
        var configs = new ConfigsBuilder(stream, stream, kinesis, leases, metrics, "worker", Printer::new);
        var retrieval = configs.retrievalConfig().retrievalSpecificConfig(new PollingConfig(stream, kinesis));
        var scheduler = new Scheduler(configs.checkpointConfig(), configs.coordinatorConfig(),
                // Nobody else is there: it need not look for long who has the lease.
                configs.leaseManagementConfig().failoverTimeMillis(1000), configs.lifecycleConfig(),
                configs.metricsConfig().metricsFactory(new NullMetricsFactory()), configs.processorConfig(),
                retrieval);
        var worker = new Thread(scheduler);
        worker.setDaemon(true);
        worker.start();
        if (!left.await(90, TimeUnit.SECONDS)) {
            System.err.println("only some of the records came");
            System.exit(1);
        }
        Thread.sleep(3000);
        System.exit(0);
    }
}
