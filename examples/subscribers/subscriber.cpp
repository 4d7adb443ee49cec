// Prints the objects of a stream: subscriber ENDPOINT STREAM [MESSAGES].
// Build: g++ -std=c++17 subscriber.cpp -o subscriber -lzmq
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>
#include <zmq.hpp>
#include <zmq_addon.hpp>

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  int left = argc > 3 ? std::stoi(argv[3]) : -1;
  const std::string topic = std::string("masks.") + argv[2];
  zmq::context_t context;
  zmq::socket_t socket(context, zmq::socket_type::sub);
  socket.set(zmq::sockopt::subscribe, topic);
  socket.connect(argv[1]);
  while (left != 0) {
    std::vector<zmq::message_t> parts;
    if (!zmq::recv_multipart(socket, std::back_inserter(parts))) continue;
    if (parts[0].to_string_view() != topic) continue;  // subscribed to cam1, cam10 comes too
    const auto message = nlohmann::json::parse(parts[1].to_string_view());
    for (const auto& item : message["objects"])
      std::cout << item["id"] << " " << item["label"] << " " << item["state"] << " "
                << item["box"] << std::endl;
    --left;
  }
}
