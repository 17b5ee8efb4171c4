// The threads that share a kernel's work.
#pragma once

namespace handgrad {

// The tasks of one kernel. Each runs once, as task(context, number, participant).
struct Tasks {
  void (*task)(const void* context, long number, int participant);
  const void* context;
  long count;
  // Whether worker i shall run task i if it is awake: its cache holds what task i of the kernel before wrote.
  bool by_worker;
};

// Runs all tasks and returns when they are done. The calling thread is participant 0; up to `most - 1` workers join it
// as participants 1, 2, ... while tasks are left. None is assigned to a worker that sleeps or that another program keeps
// from its CPU. Where the pool works for another thread, and where a task asks for it, the caller runs all tasks alone.
// The first exception of a task is thrown to the caller when the others have ended.
void run_tasks(const Tasks& tasks, int most);

// Ends the workers; the next kernel begins new ones. Called before a fork, because the child has none of them.
void end_threads();

}  // namespace handgrad
