// Replays programs: steps of independent tasks, taken by a pool of threads one at a time.
//
// No thread waits for another to arrive. A step is over when its tasks are, whoever ran them, so a
// thread that the system has put aside delays the others by the task it is in, and by no barrier.
// Waiting spins, then yields, then blocks: on cores that are shared with other work, a thread that
// spins or yields on would hold a core that the system could give to the awaited one, or to what
// keeps that one from running.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <pthread.h>
#include <sched.h>
#include <thread>
#include <vector>

namespace {

constexpr int kSpins = 1000;
constexpr int64_t kYieldFor = 500000;  // [ns]; longer than what tasks of a step differ by
constexpr int kYieldsAtOnce = 8;       // between two looks at the clock

int64_t now() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return int64_t(t.tv_sec) * 1000000000 + t.tv_nsec;
}

template <class Ready> bool spin(Ready ready) {
    for (int i = 0; i < kSpins; ++i) {
        if (ready()) return true;
        __builtin_ia32_pause();
    }
    const int64_t end = now() + kYieldFor;
    do {
        for (int i = 0; i < kYieldsAtOnce; ++i) {
            if (ready()) return true;
            sched_yield();
        }
    } while (now() < end);
    return ready();
}

}  // namespace

extern "C" {

using Run = void (*)(const void* data, int worker, void* scratch);

struct Task {
    Run run;
    const void* data;
};

// A step's tasks, the workers that take part in it, and the steps that must be over before it.
struct StepSpec {
    int32_t first_task, num_tasks;
    int32_t first_worker, num_workers;
    int32_t first_dependency, num_dependencies;
};

struct Event {
    int64_t begin, end;  // [ns]
    int32_t worker;
    int32_t pad;
};

struct OneDnnCall {
    int (*execute)(void* primitive, void* stream, int num_arguments, const void* arguments);
    void* primitive;
    void* const* streams;  // one a worker
    int32_t num_arguments;
    const void* arguments;
};

void run_onednn(const void* data, int worker, void*) {
    auto call = static_cast<const OneDnnCall*>(data);
    call->execute(call->primitive, call->streams[worker], call->num_arguments, call->arguments);
}

}  // extern "C"

namespace {

// Counters only grow: in the n-th run of a program they go from (n - 1) * num_tasks to
// n * num_tasks, so nothing has to be reset while a late thread may still look.
struct alignas(64) Counters {
    std::atomic<int64_t> taken{0};
    std::atomic<int64_t> done{0};
};

struct Program {
    std::vector<StepSpec> steps;
    std::vector<Task> tasks;
    std::vector<int32_t> dependencies;
    std::vector<Counters> counters;
    Event* events;
    int64_t runs = 0;

    Program(int num_steps) : counters(num_steps) {}
};

struct Pool {
    std::mutex mutex;
    std::condition_variable changed, finished;
    std::atomic<int64_t> sequence{0};
    Program* program = nullptr;
    int64_t run = 0;
    int active = 0;
    bool ends = false;
    std::vector<std::thread> threads;
    std::vector<void*> scratch;
    std::vector<int> processors;  // that may be used
    int callers_processor = -1;
    void (*set_omp_threads)(int);

    void spread();

    void work(Program& program, int64_t run, int worker);
    void loop(int worker);
};

void Pool::work(Program& program, int64_t run, int worker) {
    auto over = [&](int step) {
        return program.counters[step].done.load(std::memory_order_acquire)
            >= run * program.steps[step].num_tasks;
    };
    auto wait = [&](int step) {
        if (spin([&] { return over(step); })) return;
        auto& done = program.counters[step].done;
        int64_t seen = done.load(std::memory_order_acquire);
        while (seen < run * program.steps[step].num_tasks) {
            done.wait(seen, std::memory_order_acquire);
            seen = done.load(std::memory_order_acquire);
        }
    };
    const int num_steps = program.steps.size();
    for (int i = 0; i < num_steps; ++i) {
        const StepSpec& step = program.steps[i];
        if (worker < step.first_worker || worker >= step.first_worker + step.num_workers) continue;
        Counters& counters = program.counters[i];
        const int64_t limit = run * step.num_tasks;
        if (counters.taken.load(std::memory_order_relaxed) >= limit) continue;
        for (int d = 0; d < step.num_dependencies; ++d)
            wait(program.dependencies[step.first_dependency + d]);
        int64_t next = counters.taken.load(std::memory_order_relaxed);
        while (next < limit) {
            if (!counters.taken.compare_exchange_weak(next, next + 1)) continue;
            const int task = step.first_task + step.num_tasks - int(limit - next);
            Event& event = program.events[task];
            event.worker = worker;
            event.begin = now();
            program.tasks[task].run(program.tasks[task].data, worker, scratch[worker]);
            event.end = now();
            counters.done.fetch_add(1, std::memory_order_release);
            counters.done.notify_all();
            next = counters.taken.load(std::memory_order_relaxed);
        }
    }
    if (worker == 0)
        for (int i = 0; i < num_steps; ++i) wait(i);
}

// Gives each thread a processor of its own, none that of the caller. Woken by the caller, threads
// would otherwise often stay on its processor, and take turns with it while others are idle.
void Pool::spread() {
    const int own = sched_getcpu();
    if (own == callers_processor || processors.size() <= threads.size()) return;
    callers_processor = own;
    size_t next = 0;
    for (auto& thread : threads) {
        if (processors[next] == own) ++next;
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(processors[next++], &set);
        pthread_setaffinity_np(thread.native_handle(), sizeof(set), &set);
    }
}

void Pool::loop(int worker) {
    set_omp_threads(1);
    int64_t seen = 0;
    while (true) {
        spin([&] { return sequence.load(std::memory_order_acquire) != seen; });
        Program* own;
        int64_t own_run;
        {
            std::unique_lock<std::mutex> lock(mutex);
            changed.wait(lock, [&] { return ends || sequence.load() != seen; });
            if (ends) return;
            seen = sequence.load();
            own = program;
            own_run = run;
            if (own == nullptr) continue;
            ++active;
        }
        work(*own, own_run, worker);
        std::lock_guard<std::mutex> lock(mutex);
        if (--active == 0) finished.notify_all();
    }
}

}  // namespace

extern "C" {

Pool* pool_create(int num_workers, int64_t scratch_bytes, void (*set_omp_threads)(int)) {
    Pool* pool = new Pool;
    pool->set_omp_threads = set_omp_threads;
    for (int i = 0; i < num_workers; ++i) {
        void* scratch = nullptr;
        if (posix_memalign(&scratch, 64, scratch_bytes ? scratch_bytes : 64)) return nullptr;
        pool->scratch.push_back(scratch);
    }
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        for (int i = 0; i < CPU_SETSIZE; ++i)
            if (CPU_ISSET(i, &set)) pool->processors.push_back(i);
    for (int i = 1; i < num_workers; ++i)
        pool->threads.emplace_back([pool, i] { pool->loop(i); });
    return pool;
}

void pool_destroy(Pool* pool) {
    {
        std::lock_guard<std::mutex> lock(pool->mutex);
        pool->ends = true;
    }
    pool->sequence.fetch_add(1);
    pool->changed.notify_all();
    for (auto& thread : pool->threads) thread.join();
    for (void* scratch : pool->scratch) free(scratch);
    delete pool;
}

Program* program_create(int num_steps, const StepSpec* steps, int num_tasks, const Task* tasks,
                        int num_dependencies, const int32_t* dependencies, Event* events) {
    Program* program = new Program(num_steps);
    program->steps.assign(steps, steps + num_steps);
    program->tasks.assign(tasks, tasks + num_tasks);
    program->dependencies.assign(dependencies, dependencies + num_dependencies);
    program->events = events;
    return program;
}

void program_destroy(Pool* pool, Program* program) {
    std::unique_lock<std::mutex> lock(pool->mutex);
    if (pool->program == program) pool->program = nullptr;
    pool->finished.wait(lock, [&] { return pool->active == 0; });
    delete program;
}

// Runs a program once; the calling thread is worker 0.
void program_run(Pool* pool, Program* program, int restore_omp_threads) {
    pool->set_omp_threads(1);
    pool->spread();
    {
        std::lock_guard<std::mutex> lock(pool->mutex);
        pool->program = program;
        pool->run = ++program->runs;
        pool->sequence.fetch_add(1, std::memory_order_release);
    }
    pool->changed.notify_all();
    pool->work(*program, program->runs, 0);
    pool->set_omp_threads(restore_omp_threads);
}

}  // extern "C"
