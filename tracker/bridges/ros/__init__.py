"""ROS 2: results as standard messages and prompts by topic, through DDS or rclpy."""
