// What applications do with kafkajs, one function a case.
//
//     node groups.js CASE BOOTSTRAP TOPIC
//
// A case fails by an exception. The topic does not exist yet, and there is no group of its name.

const assert = require('node:assert/strict')
const { Kafka, CompressionTypes, logLevel } = require('kafkajs')

const WAIT_MS = 30000
const PARTITIONS = 4
const ALL = [0, 1, 2, 3]

const client = (bootstrap, clientId = 'interop') =>
  new Kafka({ clientId, brokers: [bootstrap], logLevel: logLevel.NOTHING })

async function fill(kafka, topic, count) {
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic, numPartitions: PARTITIONS, replicationFactor: 1 }] })
  await admin.disconnect()
  const producer = kafka.producer({ idempotent: true })
  await producer.connect()
  const messages = Array.from({ length: count }, (_, n) => ({ value: String(n), partition: n % PARTITIONS }))
  if (count > 0) await producer.send({ topic, messages, acks: -1, compression: CompressionTypes.GZIP })
  await producer.disconnect()
}

async function until(what, condition) {
  const end = Date.now() + WAIT_MS
  while (!(await condition())) {
    assert(Date.now() < end, `not in time: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

// A running member of the group named as the topic; `values` is what it received.
async function member(kafka, topic, settings = {}, running = {}) {
  const { HEARTBEAT, GROUP_JOIN } = kafka.consumer({ groupId: 'unused' }).events
  const consumer = kafka.consumer({ groupId: topic, heartbeatInterval: 200, sessionTimeout: 6000, ...settings })
  const it = { consumer, values: [], owned: [], joins: 0, heartbeats: 0 }
  consumer.on(GROUP_JOIN, ({ payload }) => {
    it.joins += 1
    it.owned = payload.memberAssignment[topic] ?? []
  })
  consumer.on(HEARTBEAT, () => (it.heartbeats += 1))
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  const eachMessage = async ({ message }) => it.values.push(Number(message.value))
  await consumer.run({ eachMessage, ...running })
  return it
}

const sorted = (values) => [...values].sort((a, b) => a - b)
const range = (count) => Array.from({ length: count }, (_, n) => n)

async function resume(bootstrap, topic) {
  const kafka = client(bootstrap)
  await fill(kafka, topic, 200)
  const first = await member(kafka, topic)
  await until('the first 200', () => first.values.length === 200)
  await first.consumer.disconnect()
  const producer = kafka.producer()
  await producer.connect()
  const messages = range(100).map((n) => ({ value: String(200 + n), partition: n % PARTITIONS }))
  await producer.send({ topic, messages })
  await producer.disconnect()
  const second = await member(kafka, topic)
  await until('the next 100', () => second.values.length >= 100)
  await second.consumer.disconnect()
  assert.deepEqual(sorted([...first.values, ...second.values]), range(300))
}

async function rebalance(bootstrap, topic) {
  const kafka = client(bootstrap)
  await fill(kafka, topic, 0)
  const one = await member(kafka, topic)
  await until('one owns all', () => one.owned.length === 4)
  const two = await member(kafka, topic)
  await until('two share', () => one.owned.length === 2 && two.owned.length === 2)
  assert.deepEqual(sorted([...one.owned, ...two.owned]), ALL)
  await two.consumer.disconnect()
  await until('one owns all again', () => one.owned.length === 4)
  const before = one.heartbeats
  await until('heartbeats go on', () => one.heartbeats > before + 2)
  await one.consumer.disconnect()
}

async function manual_commits(bootstrap, topic) {
  const kafka = client(bootstrap)
  await fill(kafka, topic, 40)
  const it = await member(kafka, topic, {}, { autoCommit: false })
  await until('all records', () => it.values.length === 40)
  await it.consumer.commitOffsets([{ topic, partition: 0, offset: '3', metadata: 'über' }])
  await it.consumer.disconnect()
  const admin = kafka.admin()
  await admin.connect()
  const [{ partitions }] = await admin.fetchOffsets({ groupId: topic, topics: [topic] })
  const found = Object.fromEntries(partitions.map(({ partition, offset, metadata }) => [partition, [offset, metadata]]))
  assert.deepEqual(found[0], ['3', 'über'])
  assert.equal(found[1][0], '-1')
  await admin.disconnect()
}

async function seek_and_pause(bootstrap, topic) {
  const kafka = client(bootstrap)
  await fill(kafka, topic, 40)
  const it = await member(kafka, topic)
  await until('all records', () => it.values.length === 40)
  it.values.length = 0
  it.consumer.seek({ topic, partition: 2, offset: '8' })
  await until('two again', () => it.values.length === 2)
  assert.deepEqual(it.values, [34, 38])
  it.consumer.pause([{ topic, partitions: [2] }])
  it.consumer.seek({ topic, partition: 2, offset: '9' })
  it.consumer.seek({ topic, partition: 3, offset: '9' })
  await until('of the other', () => it.values.length === 3)
  assert.deepEqual(it.values, [34, 38, 39])
  await it.consumer.disconnect()
}

async function administration(bootstrap, topic) {
  const kafka = client(bootstrap, 'the-client')
  await fill(kafka, topic, 40)
  const admin = kafka.admin()
  await admin.connect()
  const it = await member(kafka, topic)
  await until('all records', () => it.values.length === 40)
  const { groups: listed } = await admin.listGroups()
  assert(listed.some(({ groupId, protocolType }) => groupId === topic && protocolType === 'consumer'))
  const { groups } = await admin.describeGroups([topic])
  assert.equal(groups[0].state, 'Stable')
  assert.equal(groups[0].protocol, 'RoundRobinAssigner')
  assert.equal(groups[0].members[0].clientId, 'the-client')
  await assert.rejects(admin.deleteGroups([topic]))
  await it.consumer.disconnect()
  const offsets = async () => {
    const [{ partitions }] = await admin.fetchOffsets({ groupId: topic, topics: [topic] })
    return sorted(partitions.map(({ offset }) => Number(offset)))
  }
  assert.deepEqual(await offsets(), [10, 10, 10, 10])
  await admin.setOffsets({ groupId: topic, topic, partitions: [{ partition: 1, offset: '4' }] })
  assert.deepEqual(await offsets(), [4, 10, 10, 10])
  await admin.resetOffsets({ groupId: topic, topic, earliest: true })
  // The client commits the mark of the earliest offset, which it looks up when it starts to read.
  assert.deepEqual(await offsets(), [-2, -2, -2, -2])
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '6' }] })
  const ends = await admin.fetchTopicOffsets(topic)
  assert.deepEqual(ends.map(({ low }) => low).sort(), ['0', '0', '0', '6'])
  await admin.deleteGroups([topic])
  await admin.createPartitions({ topicPartitions: [{ topic, count: 6 }] })
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
  assert.equal(topics[0].partitions.length, 6)
  await admin.deleteTopics({ topics: [topic] })
  await admin.disconnect()
}

const cases = { resume, rebalance, manual_commits, seek_and_pause, administration }
const [name, bootstrap, topic] = process.argv.slice(2)
cases[name](bootstrap, topic).then(
  () => process.exit(0),
  (error) => {
    console.error(error)
    process.exit(1)
  }
)
