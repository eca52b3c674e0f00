// What applications do with franz-go, one function a case.
//
//	interop CASE BOOTSTRAP TOPIC
//
// The topic does not exist yet, and there is no group of its name.
package main

import (
	"context"
	"fmt"
	"os"
	"sort"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	within     = 40 * time.Second
	partitions = 4
)

// The case that runs.
type run struct {
	ctx       context.Context
	bootstrap string
	topic     string
	admin     *kadm.Client
}

func main() {
	cases := map[string]func(*run){
		"resume":             (*run).resume,
		"rebalance":          func(r *run) { r.rebalance(kgo.RangeBalancer()) },
		"cooperative_sticky": func(r *run) { r.rebalance(kgo.CooperativeStickyBalancer()) },
		"static_member":      (*run).staticMember,
		"groups":             (*run).groups,
		"offsets":            (*run).offsets,
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	r := &run{ctx: ctx, bootstrap: os.Args[2], topic: os.Args[3]}
	r.admin = kadm.NewClient(r.client())
	must(r.admin.CreateTopic(ctx, partitions, 1, nil, r.topic))
	cases[os.Args[1]](r)
}

// Panics where something that must succeed did not.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func expect(holds bool, format string, values ...any) {
	if !holds {
		panic(fmt.Sprintf(format, values...))
	}
}

func (r *run) client(options ...kgo.Opt) *kgo.Client {
	options = append(options, kgo.SeedBrokers(r.bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	return must(kgo.NewClient(options...))
}

func (r *run) fill(first, count int) {
	client := r.client()
	defer client.Close()
	var records []*kgo.Record
	for n := first; n < first+count; n++ {
		records = append(records, &kgo.Record{Topic: r.topic, Partition: int32(n % partitions), Value: []byte(strconv.Itoa(n))})
	}
	must(0, client.ProduceSync(r.ctx, records...).FirstErr())
}

// A member of the group named as the topic.
func (r *run) member(options ...kgo.Opt) *kgo.Client {
	return r.client(append([]kgo.Opt{
		kgo.ConsumerGroup(r.topic),
		kgo.ConsumeTopics(r.topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.Balancers(kgo.RangeBalancer()),
		kgo.HeartbeatInterval(200 * time.Millisecond),
		kgo.SessionTimeout(6 * time.Second),
	}, options...)...)
}

// The values of the next `count` records.
func (r *run) receive(member *kgo.Client, count int) []int {
	var values []int
	for len(values) < count {
		fetches := member.PollRecords(r.ctx, count-len(values))
		must(0, fetches.Err0())
		fetches.EachError(func(_ string, _ int32, err error) { panic(err) })
		fetches.EachRecord(func(record *kgo.Record) { values = append(values, must(strconv.Atoi(string(record.Value)))) })
	}
	return values
}

func (r *run) until(what string, condition func() bool) {
	for !condition() {
		expect(r.ctx.Err() == nil, "not in time: %s", what)
		time.Sleep(50 * time.Millisecond)
	}
}

// How many partitions each member of the group has, from the coordinator; empty unless the group is stable.
func (r *run) shares() []int {
	group := must(r.admin.DescribeGroups(r.ctx, r.topic))[r.topic]
	shares := []int{}
	if group.State != "Stable" {
		return shares
	}
	for _, member := range group.Members {
		assigned, _ := member.Assigned.AsConsumer()
		count := 0
		if assigned != nil {
			for _, topic := range assigned.Topics {
				count += len(topic.Partitions)
			}
		}
		shares = append(shares, count)
	}
	sort.Ints(shares)
	return shares
}

func (r *run) untilShares(expected ...int) {
	r.until(fmt.Sprint("shares ", expected), func() bool { return fmt.Sprint(r.shares()) == fmt.Sprint(expected) })
}

func (r *run) resume() {
	r.fill(0, 400)
	one := r.member()
	values := r.receive(one, 150)
	must(0, one.CommitUncommittedOffsets(r.ctx))
	one.Close()
	two := r.member()
	defer two.Close()
	values = append(values, r.receive(two, 250)...)
	sort.Ints(values)
	for n, value := range values {
		expect(n == value, "record %d was lost or came twice", n)
	}
}

func (r *run) rebalance(balancer kgo.GroupBalancer) {
	taken := make(chan int, 100)
	one := r.member(kgo.Balancers(balancer), kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, revoked map[string][]int32) {
		taken <- len(revoked[r.topic])
	}))
	defer one.Close()
	r.untilShares(4)
	two := r.member(kgo.Balancers(balancer))
	r.untilShares(2, 2)
	expected := 4
	if balancer.IsCooperative() {
		expected = 2
	}
	first := <-taken
	for first == 0 {
		first = <-taken
	}
	expect(first == expected, "%d partitions were taken from the first member", first)
	two.Close()
	r.untilShares(4)
}

func (r *run) staticMember() {
	one := r.member(kgo.InstanceID("one"))
	defer one.Close()
	two := r.member(kgo.InstanceID("two"))
	r.untilShares(2, 2)
	_, generation := one.GroupMetadata()
	two.Close()
	two = r.member(kgo.InstanceID("two"))
	defer two.Close()
	r.until("the member is back", func() bool { _, found := two.GroupMetadata(); return found >= generation })
	_, after := one.GroupMetadata()
	expect(after == generation, "the return of a static member made generation %d of %d", after, generation)
	r.untilShares(2, 2)
}

func (r *run) groups() {
	r.fill(0, 40)
	one := r.member(kgo.ClientID("the-client"))
	r.receive(one, 40)
	must(0, one.CommitUncommittedOffsets(r.ctx))
	listed := must(r.admin.ListGroups(r.ctx, "Stable"))
	expect(listed[r.topic].ProtocolType == "consumer", "listed is %v", listed)
	expect(len(must(r.admin.ListGroupsByType(r.ctx, []string{"classic"}))) > 0, "no classic group is listed")
	described := must(r.admin.DescribeGroups(r.ctx, r.topic))[r.topic]
	expect(described.Protocol == "range" && described.Members[0].ClientID == "the-client", "described is %v", described)
	lag := must(r.admin.Lag(r.ctx, r.topic))[r.topic]
	expect(lag.Lag.Total() == 0, "the lag is %d", lag.Lag.Total())
	_, err := r.admin.DeleteGroup(r.ctx, r.topic)
	expect(err == kerr.NonEmptyGroup, "a group with members was deleted: %v", err)
	one.Close()
	r.fill(40, 4)
	lag = must(r.admin.Lag(r.ctx, r.topic))[r.topic]
	expect(lag.State == "Empty" && lag.Lag.Total() == 4, "the group is %s with a lag of %d", lag.State, lag.Lag.Total())
	must(r.admin.DeleteGroup(r.ctx, r.topic))
	_, err = r.admin.DeleteGroup(r.ctx, r.topic)
	expect(err == kerr.GroupIDNotFound, "a group was deleted twice: %v", err)
	expect(must(r.admin.DescribeGroups(r.ctx, r.topic))[r.topic].State == "Dead", "a deleted group is not dead")
}

func (r *run) offsets() {
	r.fill(0, 40)
	var offsets kadm.Offsets
	for partition := int32(0); partition < partitions; partition++ {
		offsets.Add(kadm.Offset{Topic: r.topic, Partition: partition, At: int64(partition) + 1, LeaderEpoch: 0, Metadata: "über"})
	}
	must(0, r.admin.CommitAllOffsets(r.ctx, r.topic, offsets))
	found := must(r.admin.FetchOffsets(r.ctx, r.topic))
	third, _ := found.Lookup(r.topic, 2)
	expect(third.At == 3 && third.Metadata == "über" && third.LeaderEpoch == 0, "found is %v", third)
	many := r.admin.FetchManyOffsets(r.ctx, r.topic, "no-such-group")
	expect(len(many[r.topic].Fetched.Offsets()[r.topic]) == 4, "found is %v", many[r.topic])
	expect(len(many["no-such-group"].Fetched) == 0 && many["no-such-group"].Err == nil, "found is %v", many["no-such-group"])
	set := make(kadm.TopicsSet)
	set.Add(r.topic, 2)
	deleted := must(r.admin.DeleteOffsets(r.ctx, r.topic, set))
	must(0, deleted.Error())
	_, there := must(r.admin.FetchOffsets(r.ctx, r.topic)).Lookup(r.topic, 2)
	expect(!there, "a deleted offset is there")
	// A member whose group has offsets for some partitions starts the others where it is told to.
	one := r.member()
	defer one.Close()
	expect(len(r.receive(one, 40-1-2-4)) == 33, "not all came")
	must(0, one.CommitUncommittedOffsets(r.ctx))
	unknown := kadm.Offsets{}
	unknown.Add(kadm.Offset{Topic: r.topic + "-none", Partition: 0, At: 1})
	response := must(r.admin.CommitOffsets(r.ctx, r.topic+"-other", unknown))
	expect(response.Error() == kerr.UnknownTopicOrPartition, "a commit for no topic: %v", response.Error())
}
