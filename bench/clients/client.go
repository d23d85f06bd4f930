// One application on franz-go, with its defaults; what it lives through goes to standard output (README.md).
//
//	client consume|produce|transact BOOTSTRAP TOPIC NAME       KAFKA_USER, KAFKA_PASSWORD in the environment
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

const (
	pause = 200 * time.Millisecond
	inOne = 5 // records of a transaction
)

var (
	lock      sync.Mutex
	lastError string
)

func say(word, text string) {
	lock.Lock()
	defer lock.Unlock()
	fmt.Printf("%d %s %s\n", time.Now().UnixMilli(), word, text)
}

func failed(err error) {
	lock.Lock()
	same := err.Error() == lastError
	lastError = err.Error()
	lock.Unlock()
	if !same {
		say("error", err.Error())
	}
}

func client(more ...kgo.Opt) *kgo.Client {
	auth := plain.Auth{User: os.Getenv("KAFKA_USER"), Pass: os.Getenv("KAFKA_PASSWORD")}
	opts := append([]kgo.Opt{kgo.SeedBrokers(os.Args[2]), kgo.SASL(auth.AsMechanism())}, more...)
	made, err := kgo.NewClient(opts...)
	if err != nil {
		say("died", err.Error())
		os.Exit(1)
	}
	return made
}

func consume(topic, name string) {
	c := client(kgo.ConsumerGroup(name), kgo.ConsumeTopics(topic), kgo.AutoCommitInterval(time.Second),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for {
		fetches := c.PollFetches(context.Background())
		fetches.EachError(func(_ string, _ int32, err error) { failed(err) })
		fetches.EachRecord(func(r *kgo.Record) { say("read", string(r.Value)) })
	}
}

func produce(topic string) {
	c := client(kgo.DefaultProduceTopic(topic))
	for serial := 0; ; serial++ {
		c.Produce(context.Background(), kgo.StringRecord(strconv.Itoa(serial)), func(r *kgo.Record, err error) {
			if err != nil {
				failed(err)
			} else {
				say("acked", string(r.Value))
			}
		})
		time.Sleep(pause)
	}
}

func transact(topic, name string) {
	c := client(kgo.DefaultProduceTopic(topic), kgo.TransactionalID(name))
	ctx := context.Background()
	for serial := 0; ; serial += inOne {
		if err := c.BeginTransaction(); err != nil {
			failed(err)
			time.Sleep(time.Second)
			continue
		}
		var records []*kgo.Record
		for i := 0; i < inOne; i++ {
			records = append(records, kgo.StringRecord(strconv.Itoa(serial+i)))
		}
		err := c.ProduceSync(ctx, records...).FirstErr()
		end := kgo.TransactionEndTry(err == nil)
		if err != nil {
			failed(err)
			c.AbortBufferedRecords(ctx)
		}
		if ended := c.EndTransaction(ctx, end); ended != nil {
			failed(ended)
		} else if err == nil {
			for _, r := range records {
				say("acked", string(r.Value))
			}
		}
		time.Sleep(inOne * pause)
	}
}

func main() {
	switch os.Args[1] {
	case "consume":
		consume(os.Args[3], os.Args[4])
	case "produce":
		produce(os.Args[3])
	case "transact":
		transact(os.Args[3], os.Args[4])
	}
}
